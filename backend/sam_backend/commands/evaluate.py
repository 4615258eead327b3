"""`label-studio-sam evaluate`: compare a run's predictions with the annotations that people submitted."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from sam_backend.commands.label_studio_settings import label_studio_settings
from sam_backend.commands.result import CommandResult
from sam_backend.settings import Settings

if TYPE_CHECKING:
    from sam_backend.evaluation.evaluation import Evaluation
    from sam_backend.evaluation.label_report import LabelReport
    from sam_backend.runs.run_store import Run

DESCRIPTION = """Compare the predictions of a run with the submitted annotations of the same tasks: what was accepted,
corrected, deleted and added, precision and recall, masks, calibration, and which threshold keeps a precision.
LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are required."""
SHOWN_LABELS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("--project", type=int, required=True, metavar="N", help="the project's number, as in its URL")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="RUN", dest="run_id", help="id of the run (default: the project's newest one)")
    which.add_argument("--model-version", metavar="NAME", help="evaluate the predictions of this model version")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the report: HTML that needs no network")
    parser.add_argument(
        "--calibrate", action="store_true", help="fit a calibration of the scores and store it beside the run"
    )
    parser.add_argument(
        "--precision", type=float, default=0.95, metavar="P", help="that threshold advice keeps (default %(default)s)"
    )
    parser.add_argument(
        "--accept-iou",
        type=float,
        default=0.85,
        metavar="P",
        help="IoU with the final region from which a prediction is good (default %(default)s)",
    )
    parser.add_argument(
        "--draw-seconds",
        type=float,
        default=14.0,
        metavar="S",
        help="seconds to draw a mask, for the estimate of saved time (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Evaluate the predictions.

    Raises:
        ValueError: an argument cannot be used.
        BackendError: the run is unknown, of another project, or there are too few regions for a calibration.
        LabelStudioApiError: Label Studio refuses, or does not answer.
        OSError: a file cannot be written.
    """
    from sam_backend.evaluation.evaluation import EvaluationOptions
    from sam_backend.evaluation.run_evaluation import Evaluator, calibrate
    from sam_backend.evaluation.run_predictions import of_version
    from sam_backend.evaluation.time_saved import ActionSeconds
    from sam_backend.label_studio.credentials import LabelStudioCredentials

    for name, value in (("--precision", args.precision), ("--accept-iou", args.accept_iou)):
        if not 0 < value < 1:
            raise ValueError(f"{name} {value} is not between 0 and 1")
    settings = label_studio_settings()
    options = EvaluationOptions(args.accept_iou, args.precision, ActionSeconds(draw=args.draw_seconds))
    chosen = None if args.model_version else _run_of(args.project, args.run_id, settings)
    if args.calibrate and chosen is None:
        raise ValueError("--calibrate needs a run, since the calibration is stored beside it")
    evaluator = Evaluator(settings, LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key))
    with tqdm(desc="read", unit="task", disable=True if args.json else None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if chosen is None:
            found = evaluator.evaluate(args.project, of_version(args.model_version), options=options, on_progress=show)
        else:
            found = evaluator.evaluate_run(chosen, options, show)
    evaluation = found.evaluation
    answer = evaluation.to_json()
    lines = _lines(evaluation)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(found.html, "utf-8")
        lines.append(f"report: {args.out}")
    if args.calibrate and chosen is not None:
        calibration = calibrate(chosen, evaluation)
        own = ", ".join(calibration.labels) or "none"
        answer["calibration"] = {"run": chosen.id, "labels": list(calibration.labels)}
        lines.append(f"calibration stored; labels with a map of their own: {own}. Use it: --calibration {chosen.id}")
    return CommandResult(answer, "\n".join(lines))


def _run_of(project: int, run_id: str | None, settings: Settings) -> "Run | None":
    """Return the chosen run, else the project's newest one with predictions; None if there is none."""
    from sam_backend.runs.run_store import RunStateError, RunStore, runs_folder

    store = RunStore(runs_folder(settings.runs_dir))
    if run_id is not None:
        found = store.get(run_id)
        if found.configuration.project != project:
            raise RunStateError(f"run {found.id} belongs to project {found.configuration.project}, not to {project}")
        return found
    candidates = (one for one in store.runs() if one.configuration.project == project)
    return next((one for one in candidates if one.ledger.run()["written"]), None)


def _lines(evaluation: "Evaluation") -> list[str]:
    subject = f"run {evaluation.run_id}: " if evaluation.run_id else ""
    lines = [
        f"{subject}{len(evaluation.tasks)} reviewed tasks, {evaluation.unreviewed} not reviewed"
        + (f"; scores calibrated by run {evaluation.calibrated_by}" if evaluation.calibrated_by else "")
    ]
    if not evaluation.tasks:
        return [*lines, "nothing to evaluate: no task has both a prediction of the run and an annotation"]
    head = ("label", "accepted", "corrected", "relabeled", "deleted", "added", "precision", "recall", "IoU", "AP", "at")
    rows = [head, *(_row(report) for report in (evaluation.everything, *evaluation.labels[:SHOWN_LABELS]))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    advice = evaluation.everything.advice
    lines.append(
        f"at: lowest score that keeps a precision of {advice.precision:.0%} (confidence 97.5 %); calibration error "
        f"{evaluation.everything.reliability.error:.3f}; estimate of saved time {evaluation.seconds_saved / 60:.0f} min"
    )
    if evaluation.everything.precision.is_too_few:
        lines.append("too few reviewed regions: the intervals are wide (see --json)")
    return lines


def _row(report: "LabelReport") -> tuple[str, ...]:
    counts = report.outcomes
    advice = report.advice.threshold
    return (
        "all" if report.label is None else report.label or "(no label)",
        *(str(counts[name]) for name in ("accepted", "corrected", "relabeled", "deleted")),
        str(report.added),
        _percent(report.precision.value),
        _percent(report.recall.value),
        _number(report.mask_iou),
        _number(report.average_precision),
        "-" if advice is None else f"{advice:.4f}",
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
