"""Evaluations, reviews and threshold advice of the service's runs."""

import json
import threading
from dataclasses import dataclass
from typing import Any

from sam_backend.errors import BackendError
from sam_backend.evaluation.run_evaluation import HTML_FILE, JSON_FILE, Evaluator, calibrate
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.preannotation.calibration import SUFFIX
from sam_backend.runs.review import Review, start_review
from sam_backend.runs.run_store import Run, RunStateError
from sam_backend.service.project_lookup import read_label_studio
from sam_backend.service.runs import Runs
from sam_backend.settings import Settings

GIVE_UP_AFTER_S = 20.0  # without an answer of Label Studio, while a person waits


class NoReportError(BackendError):
    """The run was not evaluated."""

    status = 404


@dataclass
class _Work:
    """One evaluation in a thread."""

    done: int = 0
    total: int = 0
    error: str = ""
    is_running: bool = True

    def show(self, done: int, total: int) -> None:
        self.done, self.total = done, total


class Evaluations:
    """Evaluate runs in threads, one at a time per run; threads may share it."""

    def __init__(self, settings: Settings, credentials: LabelStudioCredentials, runs: Runs) -> None:
        self._credentials, self._runs = credentials, runs
        self._evaluator = Evaluator(settings, credentials)
        self._work: dict[str, _Work] = {}
        self._lock = threading.Lock()

    def start(self, run_id: str, *, with_calibration: bool) -> None:
        """Evaluate a run in the background, and fit a calibration if that is wanted.

        Raises:
            BackendError: the run is unknown, or it is being evaluated.
        """
        run = self._runs.find(run_id)
        work = _Work()
        with self._lock:
            known = self._work.get(run.id)
            if known is not None and known.is_running:
                raise RunStateError(f"run {run.id} is being evaluated")
            self._work[run.id] = work
        arguments = (run, work, with_calibration)
        threading.Thread(target=self._evaluate, args=arguments, name=f"evaluate-{run.id}", daemon=True).start()

    def _evaluate(self, run: Run, work: _Work, with_calibration: bool) -> None:
        try:
            found = read_label_studio(
                self._credentials,
                lambda: self._evaluator.evaluate_run(run, on_progress=work.show),
                f"project {run.configuration.project}",
            )
            if with_calibration:
                calibrate(run, found.evaluation)
        except (BackendError, OSError) as error:
            work.error = str(error)
        except ImportError:
            work.error = "a calibration needs scikit-learn: pip install 'label-studio-sam[learning]'"
        finally:
            work.is_running = False

    def status(self, run_id: str) -> dict[str, Any]:
        """Return the state of a run's evaluation, and its last numbers (None before the first)."""
        run = self._runs.find(run_id)
        work = self._work.get(run.id)
        return {
            "is_running": work is not None and work.is_running,
            "done": 0 if work is None else work.done,
            "total": 0 if work is None else work.total,
            "error": "" if work is None else work.error,
            "evaluation": _stored(run),
            "has_calibration": run.file_beside(SUFFIX).exists(),
        }

    def report(self, run_id: str) -> str:
        """Return the last report of a run as HTML.

        Raises:
            NoReportError: the run was not evaluated.
        """
        run = self._runs.find(run_id)
        try:
            return run.file_beside(HTML_FILE).read_text("utf-8")
        except FileNotFoundError:
            raise NoReportError(f"run {run.id} was not evaluated: there is no report") from None

    def advice(self, project: int) -> dict[str, Any]:
        """Return the thresholds and the calibration that the project's newest evaluated run advises."""
        for run in self._runs.list_runs(project).runs:
            found = _stored(run)
            if found is None:
                continue
            advised = {report["label"]: report["threshold_advice"] for report in found["labels"] if report["label"]}
            thresholds = {label: one["threshold"] for label, one in advised.items() if one["threshold"] is not None}
            return {
                "run": run.id,
                "model_version": found["model_version"],
                "precision": found["all"]["threshold_advice"]["precision"],
                "label_thresholds": thresholds,
                "calibration": run.id if run.file_beside(SUFFIX).exists() else None,
            }
        return {"run": None, "label_thresholds": {}, "calibration": None}

    def review(self, run_id: str, audit_share: float) -> tuple[Review, str]:
        """Create the tabs of a review; return it and the URL of its tab.

        Raises:
            BackendError: the run is unknown, of another Label Studio or without predictions, or Label Studio refuses.
        """
        run = self._runs.find_ours(run_id)
        client = LabelStudioClient(self._credentials)
        policy = RetryPolicy(lambda: False, GIVE_UP_AFTER_S, lambda message: None)
        project = run.configuration.project
        review = read_label_studio(
            self._credentials, lambda: start_review(run, client, policy, audit_share), f"project {project}"
        )
        return review, f"{(self._credentials.url or '').rstrip('/')}/projects/{project}/data?tab={review.view}"


def _stored(run: Run) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(run.file_beside(JSON_FILE).read_bytes())
        return found
    except (OSError, ValueError):
        return None
