"""Bulk runs of the service: start, list, stop, continue and undo."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration, TaskFilter
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.runs.image_builder import check_build
from sam_backend.runs.origin import RunOrigin, installation_of
from sam_backend.runs.run_store import Run, RunStateError, RunStore, RunStoreError, runs_folder
from sam_backend.runs.supervisor import RunSupervisor
from sam_backend.runs.unreadable_runs import UnreadableRun
from sam_backend.service.default_preannotation import default_configuration
from sam_backend.service.import_debouncer import ImportDebouncer
from sam_backend.service.project_lookup import find_project, read_label_studio
from sam_backend.service.project_registry import ProjectRegistry, created_seconds
from sam_backend.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunList:
    """Runs, the newest first, and what keeps others from being read or started."""

    runs: Sequence[Run]
    unreadable: Sequence[UnreadableRun] = ()
    problem: str = ""  # why no new run can be stored; empty if one can


class Runs:
    """Start, find and control runs; threads may share it."""

    def __init__(self, settings: Settings, credentials: LabelStudioCredentials, projects: ProjectRegistry) -> None:
        self._settings, self._credentials, self._projects = settings, credentials, projects
        folder = runs_folder(settings.runs_dir)
        self._store = RunStore(folder)
        self._supervisor = RunSupervisor(folder, credentials, os.environ)
        self._imports = ImportDebouncer(self._start_for_tasks)

    def start_supervisor(self) -> None:
        """Start to process queued runs, and those that an earlier service left unfinished."""
        self._supervisor.start()

    def close(self) -> None:
        """Start runs for the tasks that are still collected, then stop the worker process."""
        self._imports.flush()
        self._supervisor.close()

    def start(self, configuration: RunConfiguration) -> Run:
        """Queue a new run.

        Raises:
            BackendError: the project does not exist or has an unfinished run, or a model or detector is unknown.
        """
        if configuration.purpose != "predictions":
            check_build(self._settings)
            configuration = replace(configuration, policy="add")  # predictions do not matter
        configuration = self._projects.resolved(configuration)
        self._projects.version(configuration)  # raises if a model or detector is unknown
        project = find_project(self._credentials, configuration.project)
        LabelingConfig.from_xml(project.labeling_config).image()
        return self._supervisor.create(configuration, RunOrigin.of(self._credentials.url, project))

    def list_runs(self, project: int | None = None) -> RunList:
        """Return all runs, or those of one project."""
        problem = self._store.problem()
        try:
            runs, unreadable = self._store.runs(), self._store.unreadable()
        except RunStoreError as error:
            return RunList([], problem=problem or str(error))
        if project is not None:
            runs = [run for run in runs if run.configuration.project == project]
        return RunList(runs, unreadable, problem)

    def count_by_state(self) -> Counter[str]:
        """Return the number of readable runs in each state."""
        return Counter(run.progress().state for run in self.list_runs().runs)

    def find(self, run_id: str) -> Run:
        """Return the run with this id, or the only one whose id begins with it.

        Raises:
            BackendError: there is none, there are several, or its ledger cannot be read.
        """
        return self._store.get(run_id)

    def pause(self, run_id: str) -> Run:
        """Stop a run until it is resumed.

        Raises:
            BackendError: as `find`, or the run's state does not allow it.
        """
        run = self.find(run_id)
        run.request("pause")
        return run

    def cancel(self, run_id: str) -> Run:
        """Stop a run for good; its predictions stay.

        Raises:
            BackendError: as `find`, or the run's state does not allow it.
        """
        run = self.find(run_id)
        run.request("cancel")
        return run

    def resume(self, run_id: str) -> Run:
        """Continue a run that was stopped or interrupted.

        Raises:
            BackendError: as `find`, the run belongs to another Label Studio, or its state does not allow it.
        """
        run = self.find_ours(run_id)
        run.request("resume")
        self._supervisor.enqueue(run)
        return run

    def undo(self, run_id: str) -> Run:
        """Remove the predictions that a run wrote.

        Raises:
            BackendError: as `resume`.
        """
        run = self.find_ours(run_id)
        run.request("undo")
        self._supervisor.enqueue(run)
        return run

    def retry(self, run_id: str) -> Run:
        """Process the failed tasks of a run again.

        Raises:
            BackendError: as `resume`, or no task failed.
        """
        run = self.find_ours(run_id)
        if not run.retry():
            raise RunStateError(f"run {run.id} has no failed task")
        self._supervisor.enqueue(run)
        return run

    def start_training(self, project: int) -> None:
        """Start the run of a project's extra parameters in a thread, since Label Studio waits for the answer."""
        threading.Thread(target=self._start_for_project, args=(project,), name="start-training", daemon=True).start()

    def tasks_created(self, project: int, task_ids: Sequence[int]) -> None:
        """Start a run for imported tasks, if the settings ask for that."""
        if self._settings.preannotate_on_import and task_ids:
            self.start_soon(project, task_ids)

    def start_soon(self, project: int, task_ids: Sequence[int]) -> None:
        """Start one run for these tasks and those that the next calls add within some seconds."""
        self._imports.add(project, task_ids)

    def store_failure(self, project: int, reason: str) -> None:
        """Store a failed run, unless the project's newest run failed for the same reason.

        Label Studio shows nobody the error, the list of runs does.
        """
        logger.error("could not start a run for project %d: %s", project, reason)
        newest = next(iter(self.list_runs(project).runs), None)
        if newest is not None and newest.progress().message == reason:
            return
        try:
            self._store.create(RunConfiguration(project), self._origin_of(project)).end("failed", reason)
        except BackendError as error:
            logger.error("could not store the failure of project %d: %s", project, error)

    def find_ours(self, run_id: str) -> Run:
        """Return a run as `find` does, if it belongs to this Label Studio.

        Raises:
            BackendError: as `find`, or the run belongs to another Label Studio.
        """
        run = self.find(run_id)
        self._supervisor.refuse_elsewhere(run)
        return run

    def _start_for_project(self, project: int) -> None:
        try:
            self.start(self._configuration_of(project))
        except RunStateError as error:
            logger.warning("could not start a run for project %d: %s", project, error)
        except BackendError as error:
            self.store_failure(project, str(error))

    def _start_for_tasks(self, project: int, task_ids: tuple[int, ...]) -> None:
        try:
            configuration = replace(self._configuration_of(project), filter=TaskFilter(ids=task_ids))
            self._supervisor.create(configuration, self._origin_of(project), beside_others=True)
        except BackendError as error:
            logger.error("could not start a run for %d tasks of project %d: %s", len(task_ids), project, error)

    def _configuration_of(self, project: int) -> RunConfiguration:
        """Return what the project's extra parameters describe; without any, its default pre-annotation.

        A project with several labels has none: then people and faces are detected, if it has labels for these.
        """
        details = find_project(self._credentials, project)
        created_s = created_seconds(details.created_at)
        if not self._projects.knows(project, created_s):
            self._read_extra_params(project, created_s)
        configured = self._projects.configuration(project, created_s)
        if configured is not None:
            return configured
        try:
            configuration = default_configuration(project, LabelingConfig.from_xml(details.labeling_config))
        except BadRequestError:
            configuration = RunConfiguration(project)
        return self._projects.resolved(configuration)

    def _read_extra_params(self, project: int, created_s: int | None) -> None:
        """Read the extra parameters of the project's connected models from Label Studio.

        Label Studio calls each model's /health before it answers, and /setup of those that it then finds connected.
        """
        client = LabelStudioClient(self._credentials)
        models = read_label_studio(
            self._credentials,
            lambda: client.call("GET", "/api/ml/", query={"project": project}),
            f"the models of project {project}",
        )
        if not self._projects.knows(project, created_s):  # else POST /setup came first, with this backend's own
            given = next((model["extra_params"] for model in models if model.get("extra_params")), None)
            self._projects.learn(project, None if given is None else orjson.dumps(given), created_s)

    def _origin_of(self, project: int) -> RunOrigin:
        """Return the origin of a run whose project is not read yet: its worker completes it."""
        return RunOrigin(installation_of(self._credentials.url), project)
