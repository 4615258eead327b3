"""Evaluation of a run with everything around it: Label Studio's API, the drawings, and the files beside the run."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from sam_backend.errors import BackendError
from sam_backend.evaluation.calibration_fit import fit_calibration
from sam_backend.evaluation.evaluation import Choose, Evaluation, EvaluationOptions, evaluate
from sam_backend.evaluation.report_page import report_page
from sam_backend.evaluation.run_predictions import of_run
from sam_backend.evaluation.worst_cases import draw_worst_cases
from sam_backend.images.decode import decode_image
from sam_backend.images.fetch import ImageFetcher, fetch_limits
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import project_details
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.preannotation.calibration import SUFFIX, Calibration
from sam_backend.runs.review import load_review
from sam_backend.runs.run_store import Run
from sam_backend.settings import Settings
from sam_model.annotation.atomic_file import write_atomically
from sam_model.types import Image

JSON_FILE, HTML_FILE = ".evaluation.json", ".evaluation.html"
GIVE_UP_AFTER_S = 120.0  # without an answer of Label Studio


class CalibratedRunError(BackendError):
    """The scores of a run went through a calibration already, so no calibration can be fitted from them."""

    status = 409


@dataclass(frozen=True)
class EvaluatedProject:
    """The numbers of an evaluation, and its report."""

    evaluation: Evaluation
    html: str


class Evaluator:
    """Evaluates predictions in a Label Studio. Threads may share it."""

    def __init__(self, settings: Settings, credentials: LabelStudioCredentials) -> None:
        self._settings, self._credentials = settings, credentials
        self._api = LabelStudioClient(credentials)
        self._retry_policy = RetryPolicy(lambda: False, GIVE_UP_AFTER_S, lambda message: None)

    def evaluate(
        self,
        project: int,
        choose: Choose,
        *,
        run: Run | None = None,
        options: EvaluationOptions | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> EvaluatedProject:
        """Compare predictions with annotations, and draw the report.

        Raises:
            LabelStudioApiError: Label Studio refuses, or does not answer for too long.
        """
        details = self._retry_policy.call(lambda: project_details(self._api, project))
        review = None if run is None else load_review(run)
        evaluation = evaluate(
            self._api,
            details,
            choose,
            self._retry_policy,
            run_id="" if run is None else run.id,
            options=options,
            audit_tasks=frozenset(() if review is None else review.audit_tasks),
            calibrated_by=None if run is None else run.configuration.calibration,
            on_progress=on_progress,
        )
        fetcher = ImageFetcher(self._credentials, fetch_limits(self._settings))
        max_pixels = self._settings.max_image_megapixels * 1_000_000

        def fetch_image(address: str, task: int) -> Image:
            data = fetcher.fetch(address, task, project, details.task_login, details.task_password)
            return decode_image(data, max_pixels)

        cases = draw_worst_cases(
            evaluation.worst, self._api, project, details.labeling_config, choose, fetch_image, self._retry_policy
        )
        return EvaluatedProject(evaluation, report_page(evaluation, cases, self._credentials.url or ""))

    def evaluate_run(
        self,
        run: Run,
        options: EvaluationOptions | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> EvaluatedProject:
        """Evaluate a run and store numbers and report beside it.

        Raises:
            LabelStudioApiError: Label Studio refuses, or does not answer for too long.
            OSError: a file cannot be written.
        """
        found = self.evaluate(
            run.configuration.project, of_run(run.id), run=run, options=options, on_progress=on_progress
        )
        for suffix, text in ((JSON_FILE, json.dumps(found.evaluation.to_json())), (HTML_FILE, found.html)):
            write_atomically(run.file_beside(suffix), text.encode())
        return found


def calibrate(run: Run, evaluation: Evaluation) -> Calibration:
    """Fit a calibration from an evaluation of a run, and store it beside the run.

    Raises:
        TooFewRegionsError: too few regions were reviewed.
        CalibratedRunError: the run's scores are calibrated already.
    """
    if run.configuration.calibration is not None:
        raise CalibratedRunError(
            f"could not fit a calibration: the scores of run {run.id} are calibrated by run "
            f"{run.configuration.calibration}; evaluate a run without --calibration"
        )
    calibration = fit_calibration(evaluation.regions, run.id, evaluation.model_version, evaluation.accept_iou)
    calibration.save(run.file_beside(SUFFIX))
    return calibration
