"""Runs on a terminal: one moving line while one is at work, a few words when it is done, a table of all."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from sam_backend.runs.run_store import Run

SHOWN_FAILURES = 5
LOOK_EVERY_S = 0.5


def describe(run: "Run") -> dict[str, Any]:
    """A run and its first failures, as GET /api/runs/ID answers."""
    failures = [{"task": task, "error": reason} for task, reason in run.failures()]
    return {"run": run.progress().to_json(), "failures": failures}


@contextmanager
def watch(run: "Run", *, silent: bool) -> Iterator[None]:
    """Show on standard error how far a run is, where that is a terminal."""
    over = threading.Event()

    def show() -> None:
        with tqdm(total=0, unit="task", desc=run.id, file=sys.stderr, disable=None, leave=False) as bar:
            while not over.wait(LOOK_EVERY_S):
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


def print_summary(run: "Run") -> None:
    """What became of a run, for people."""
    progress = run.progress()
    counts = progress.counts
    parts = [f"{counts.written} written", f"{counts.skipped} skipped", f"{counts.failed} failed"]
    if progress.state in ("undoing", "undone"):
        parts = [f"{counts.undone} predictions removed"]
    elif counts.empty:
        parts[0] += f" ({counts.empty} of them without objects)"
    print(f"run {run.id} {progress.state}: {', '.join(parts)}")
    if progress.labels and progress.state not in ("undoing", "undone"):
        print(
            f"{counts.objects} objects: "
            + ", ".join(f"{n} {name or 'no label'}" for name, n in progress.labels.items())
        )
    for task, reason in run.failures(SHOWN_FAILURES):
        print(f"  task {task}: {reason}", file=sys.stderr)
    if counts.failed > SHOWN_FAILURES:
        print(f"  all of them: label-studio-sam runs show {run.id}", file=sys.stderr)
    if progress.message:
        print(f"label-studio-sam: {progress.message}", file=sys.stderr)
    if progress.state == "paused":
        print(f"go on with the same command, or label-studio-sam runs resume {run.id}")


def print_table(runs: "Sequence[Run]") -> None:
    """A line for each run."""
    if not runs:
        print("no runs yet")
        return
    print(
        f"{'RUN':<14} {'STATE':<12} {'PROJECT':<24} {'MODELS':<28} {'DONE':>15} {'FAILED':>7}  {'STARTED':<16}  "
        "LABEL STUDIO"
    )
    for run in runs:
        progress = run.progress()
        counts, asked = progress.counts, progress.configuration
        project = f"{asked.project} {progress.project_title}".strip()
        total = "?" if counts.total is None else counts.total
        started = datetime.fromtimestamp(progress.started_at or progress.created_at)  # the person's clock
        print(
            f"{run.id:<14} {progress.state:<12} {project[:24]:<24} {_models(run)[:28]:<28} "
            f"{f'{counts.done}/{total}':>15} {counts.failed:>7}  {started:%Y-%m-%d %H:%M}  "
            f"{progress.installation or '?'}"
        )


def _models(run: "Run") -> str:
    asked, named = run.configuration, run.progress().model_version.split(" ")[1:-1]
    return " ".join(named).replace("+", " + ") or f"{asked.detector} + {asked.model}"
