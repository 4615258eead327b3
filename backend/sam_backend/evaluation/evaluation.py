"""Evaluation of a run: its predictions compared with the annotations of the same tasks, read page by page."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend.evaluation.label_report import LabelReport, label_report
from sam_backend.evaluation.matching import PredictedRegion, TaskComparison, compare
from sam_backend.evaluation.time_saved import ActionSeconds, seconds_saved
from sam_backend.label_studio.client import Json, LabelStudioClient
from sam_backend.label_studio.projects import ProjectDetails
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.stored_annotations import final_annotation
from sam_backend.label_studio.task_pages import stored_task_pages
from sam_backend.shapes.labeled_objects import objects_from_results

ACCEPT_IOU = 0.85  # with the final region: from here on a prediction counts as good
PRECISION = 0.95  # that threshold advice keeps
WORST = 20
MAX_LABELS = 100  # with numbers of their own, the most frequent ones

Choose = Callable[[Sequence[Json]], Json | None]  # the evaluated one of a task's predictions


@dataclass(frozen=True)
class Evaluation:
    """The numbers of a run."""

    project: int
    title: str
    run_id: str  # empty if a model version was evaluated
    model_version: str
    accept_iou: float
    tasks: tuple[TaskComparison, ...]
    unreviewed: int  # tasks with a prediction and without an annotation
    everything: LabelReport
    labels: tuple[LabelReport, ...]
    audit: LabelReport | None  # of the tasks of the random sample only
    action_seconds: ActionSeconds
    evaluated_at: float
    calibrated_by: str | None = None  # run whose calibration the scores went through

    @property
    def regions(self) -> list[PredictedRegion]:
        """All predicted regions of reviewed tasks."""
        return [one for task in self.tasks for one in task.predicted]

    @property
    def seconds_saved(self) -> float:
        """The open estimate."""
        return seconds_saved(self.everything.outcomes, self.action_seconds)

    @property
    def worst(self) -> list[PredictedRegion]:
        """The regions with the largest score that people had to change most."""
        wrong = [one for one in self.regions if not one.is_good(self.accept_iou)]
        return sorted(wrong, key=lambda one: (-one.score * (1 - one.iou), one.task, one.region_id))[:WORST]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        lead_times = sorted(task.lead_time_s for task in self.tasks if task.lead_time_s)
        return {
            "project": self.project,
            "title": self.title,
            "run": self.run_id,
            "model_version": self.model_version,
            "evaluated_at": self.evaluated_at,
            "accept_iou": self.accept_iou,
            "calibrated_by": self.calibrated_by,
            "tasks": {"reviewed": len(self.tasks), "unreviewed": self.unreviewed},
            "unreadable_regions": sum(task.unreadable for task in self.tasks),
            "all": self.everything.to_json(),
            "labels": [report.to_json() for report in self.labels],
            "audit": None if self.audit is None else self.audit.to_json(),
            "time": {
                "seconds_saved": round(self.seconds_saved),
                "assumed_seconds": self.action_seconds.to_json(),
                "median_lead_time_s": lead_times[len(lead_times) // 2] if lead_times else None,
            },
            "worst": [
                {"task": one.task, "region": one.region_id, "label": one.label, "score": one.score, "iou": one.iou}
                for one in self.worst
            ],
        }


@dataclass(frozen=True)
class EvaluationOptions:
    """How predictions are judged."""

    accept_iou: float = ACCEPT_IOU
    precision: float = PRECISION
    action_seconds: ActionSeconds = ActionSeconds()  # noqa: RUF009  # frozen


def evaluate(
    api: LabelStudioClient,
    project: ProjectDetails,
    choose: Choose,
    retry_policy: RetryPolicy,
    *,
    run_id: str = "",
    options: EvaluationOptions | None = None,
    audit_tasks: frozenset[int] = frozenset(),
    calibrated_by: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare the predictions that `choose` selects with the annotations; only numbers are kept in memory.

    Args:
        api: of the project's Label Studio.
        project: the project.
        choose: selects the prediction of each task; None leaves the task out.
        retry_policy: of calls to Label Studio.
        run_id: of the run, for the report.
        options: how predictions are judged.
        audit_tasks: a random sample of tasks, which is reported on its own as well.
        calibrated_by: run whose calibration the scores went through.
        on_progress: receives the number of tasks read, and of all tasks.

    Raises:
        LabelStudioApiError: Label Studio refuses, or does not answer for too long.
    """
    options = options or EvaluationOptions()
    compared: list[TaskComparison] = []
    unreviewed, done = 0, 0
    version = ""
    for tasks, left in stored_task_pages(api, project.id, retry_policy):
        total = done + len(tasks) + left
        for task in tasks:
            done += 1
            on_progress(done, total)
            prediction, annotation = choose(task.predictions), final_annotation(task.annotations)
            if prediction is None:
                continue
            version = str(prediction.get("model_version") or version)
            if annotation is None:
                unreviewed += 1
                continue
            compared.append(compare_task(task.id, prediction, annotation))
    return summarize(
        compared,
        project=project,
        run_id=run_id,
        model_version=version,
        unreviewed=unreviewed,
        options=options,
        audit_tasks=audit_tasks,
        calibrated_by=calibrated_by,
    )


def compare_task(task: int, prediction: Json, annotation: Json) -> TaskComparison:
    """Compare a stored prediction with a stored annotation."""
    predicted, unreadable = objects_from_results(prediction.get("result") or [])
    annotated, also_unreadable = objects_from_results(annotation.get("result") or [])
    lead_time = annotation.get("lead_time")
    lead_time_s = float(lead_time) if isinstance(lead_time, int | float) else None
    return compare(task, predicted, annotated, lead_time_s, unreadable + also_unreadable)


def summarize(
    compared: Sequence[TaskComparison],
    *,
    project: ProjectDetails,
    run_id: str,
    model_version: str,
    unreviewed: int,
    options: EvaluationOptions,
    audit_tasks: frozenset[int] = frozenset(),
    calibrated_by: str | None = None,
) -> Evaluation:
    """Return the numbers of compared tasks."""
    sizes: dict[str, int] = {}
    for name in (name for task in compared for name in (*(one.label for one in task.predicted), *task.annotated)):
        sizes[name] = sizes.get(name, 0) + 1
    labels = sorted(sizes, key=lambda name: (-sizes[name], name))[:MAX_LABELS]
    audited = [task for task in compared if task.task in audit_tasks]

    def report(tasks: Sequence[TaskComparison], label: str | None) -> LabelReport:
        return label_report(tasks, label, options.accept_iou, options.precision)

    return Evaluation(
        project=project.id,
        title=project.title,
        run_id=run_id,
        model_version=model_version,
        accept_iou=options.accept_iou,
        tasks=tuple(compared),
        unreviewed=unreviewed,
        everything=report(compared, None),
        labels=tuple(report(compared, label) for label in labels),
        audit=report(audited, None) if audited else None,
        action_seconds=options.action_seconds,
        evaluated_at=time.time(),
        calibrated_by=calibrated_by,
    )
