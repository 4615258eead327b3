"""Runs on a terminal: a progress bar, the summary of one run, and the table of all runs."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_backend.commands.result import CommandResult

if TYPE_CHECKING:
    from sam_backend.runs.run_store import Run

SHOWN_FAILURES = 5
REFRESH_EVERY_S = 0.5


def describe(run: "Run") -> dict[str, Any]:
    """Return a run and its first failures, as GET /api/runs/ID does."""
    failures = [{"task": task, "error": reason} for task, reason in run.failures()]
    return {"run": run.progress().to_json(), "failures": failures}


@contextmanager
def watch(run: "Run", *, silent: bool) -> Iterator[None]:
    """Show a progress bar of the run on standard error, if that is a terminal."""
    over = threading.Event()

    def show() -> None:
        with tqdm(total=0, unit="task", desc=run.id, file=sys.stderr, disable=None, leave=False) as bar:
            while not over.wait(REFRESH_EVERY_S):
                progress = run.progress()
                bar.total = progress.counts.total
                undone = progress.counts.undone
                bar.n = undone if progress.state == "undoing" else progress.counts.done
                bar.set_postfix_str(f"{progress.counts.failed} failed" if progress.counts.failed else "", refresh=False)
                bar.refresh()

    if silent:
        yield
        return
    watcher = threading.Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def run_result(run: "Run") -> CommandResult:
    """Return a run's counts, labels, first failures and the next step."""
    progress = run.progress()
    counts = progress.counts
    is_undo = progress.state in ("undoing", "undone")
    parts = [f"{counts.written} written", f"{counts.skipped} skipped", f"{counts.failed} failed"]
    if is_undo:
        parts = [f"{counts.undone} predictions removed"]
    elif progress.configuration.purpose == "embeddings":
        parts[:2] = [f"{counts.written} embedded", f"{counts.skipped} embedded before"]
    elif progress.configuration.purpose == "regions":
        parts[:2] = [f"{counts.written} indexed", f"{counts.skipped} indexed before"]
    elif counts.empty:
        parts[0] += f" ({counts.empty} of them without objects)"
    lines = [f"run {run.id} {progress.state}: {', '.join(parts)}"]
    if progress.labels and not is_undo:
        labels = ", ".join(f"{number} {name or 'no label'}" for name, number in progress.labels.items())
        lines.append(f"{counts.objects} objects: {labels}")
    lines += [f"  task {task}: {reason}" for task, reason in run.failures(SHOWN_FAILURES)]
    if counts.failed > SHOWN_FAILURES:
        lines.append(f"  all failed tasks: label-studio-sam runs show {run.id} --json")
    if progress.state == "paused":
        lines.append(f"to continue, repeat the command or use: label-studio-sam runs resume {run.id}")
    warnings = (progress.message,) if progress.message else ()
    return CommandResult(describe(run), "\n".join(lines), warnings)


def runs_table(runs: "Sequence[Run]") -> str:
    """Return a table with one line per run."""
    if not runs:
        return "there are no runs"
    lines = [
        f"{'RUN':<14} {'STATE':<12} {'PROJECT':<24} {'MODELS':<28} {'DONE':>15} {'FAILED':>7}  {'STARTED':<16}  "
        "LABEL STUDIO"
    ]
    for run in runs:
        progress = run.progress()
        counts, configuration = progress.counts, progress.configuration
        project = f"{configuration.project} {progress.project_title}".strip()
        total = "?" if counts.total is None else counts.total
        started = datetime.fromtimestamp(progress.started_at or progress.created_at)  # local time
        lines.append(
            f"{run.id:<14} {progress.state:<12} {project[:24]:<24} {_models(run)[:28]:<28} "
            f"{f'{counts.done}/{total}':>15} {counts.failed:>7}  {started:%Y-%m-%d %H:%M}  "
            f"{progress.installation or '?'}"
        )
    return "\n".join(lines)


def _models(run: "Run") -> str:
    configuration, named = run.configuration, run.progress().model_version.split(" ")[1:-1]
    return " ".join(named).replace("+", " + ") or f"{configuration.detector} + {configuration.model}"
