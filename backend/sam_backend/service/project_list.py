"""Label Studio's projects as the web page lists them, and whether each one uses this backend."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from sam_backend.errors import LabelingConfigError
from sam_backend.label_studio.backend_registration import registrations
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import projects
from sam_backend.protocol.labeling_config import ControlTag, LabelingConfig
from sam_backend.protocol.words import words_of_labels
from sam_backend.service.project_lookup import read_label_studio
from sam_backend.service.project_registry import ProjectRegistry, created_seconds

MODELS_TIMEOUT_S = 3.0
CHECK_AGAIN_S = 60.0  # for a project that did not use this backend
MAX_CONCURRENT_CHECKS = 4
MAX_CHECKS = 40  # projects, for one list


@dataclass(frozen=True)
class ProjectLine:
    """One project of the list."""

    id: int
    title: str
    tasks: int
    labels: tuple[str, ...]
    words: str  # that mean the labels, for text detectors
    has_this_backend: bool
    clicks: str | None  # the regions that its clicks get, and options of clicks; None if it is not connected


class ProjectList:
    """List projects; threads may share it."""

    def __init__(
        self,
        credentials: LabelStudioCredentials,
        projects: ProjectRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials, self._projects, self._clock = credentials, projects, clock
        self._client = LabelStudioClient(credentials)
        self._impatient_client = LabelStudioClient(credentials, timeout_s=MODELS_TIMEOUT_S)
        self._check_again_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def lines(self) -> list[ProjectLine]:
        """Return all projects that the token's user may see.

        Raises:
            LabelStudioError: no token is known, Label Studio refuses it, or Label Studio does not answer.
        """
        return read_label_studio(self._credentials, self._lines, "the list of projects")

    def _lines(self) -> list[ProjectLine]:
        found = projects(self._client)
        self._find_connected([(project.id, created_seconds(project.created_at)) for project in found])
        return [
            ProjectLine(
                id=project.id,
                title=project.title,
                tasks=project.tasks,
                labels=tuple(dict.fromkeys(label for tag in tags for label in tag.labels)),
                words=words_of_labels(tags),
                has_this_backend=self._projects.knows(project.id, created_seconds(project.created_at)),
                clicks=self._projects.clicks(project.id, created_seconds(project.created_at)),
            )
            for project, tags in ((project, _tags_of(project.labeling_config)) for project in found)
        ]

    def _find_connected(self, projects: list[tuple[int, int | None]]) -> None:
        """Make Label Studio post /setup to the models of projects that are not known yet.

        It does so for every model while it lists the models of a project.
        """
        now = self._clock()
        with self._lock:
            unknown = [number for number, created_s in projects if not self._projects.knows(number, created_s)]
            due = [number for number in unknown if self._check_again_at.get(number, now) <= now][:MAX_CHECKS]
            self._check_again_at |= dict.fromkeys(due, now + CHECK_AGAIN_S)

        def list_models(project: int) -> None:
            with suppress(LabelStudioApiError):
                registrations(self._impatient_client, project)

        with ThreadPoolExecutor(MAX_CONCURRENT_CHECKS, thread_name_prefix="find-connected") as pool:
            list(pool.map(list_models, due))


def _tags_of(xml: str) -> tuple[ControlTag, ...]:
    try:
        return tuple(LabelingConfig.from_xml(xml).controls)
    except LabelingConfigError:
        return ()
