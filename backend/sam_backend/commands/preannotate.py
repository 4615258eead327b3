"""`label-studio-sam preannotate`: detector and segmenter over a whole project of Label Studio."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_backend.commands.renamed_option import RenamedOption
from sam_backend.commands.run_display import describe, print_summary, watch
from sam_backend.errors import BackendError
from sam_backend.settings import Settings, SettingsError
from sam_model.weights.errors import WeightsError

if TYPE_CHECKING:
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.preannotation.configuration import RunConfiguration
    from sam_backend.runs.origin import RunOrigin
    from sam_backend.runs.run_store import Run

CHECK_TIMEOUT_S = 10.0  # of Label Studio, for the project that a run belongs to

DESCRIPTION = """Writes predictions for the tasks of a project; annotations and other people's predictions are never
touched. LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where Label Studio is. The same command after an interruption
goes on where it stopped. Exit code 0: all done; 1: tasks failed, or it could not go on; 2: bad input; 130: paused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("--project", type=int, required=True, metavar="N", help="the number in the project's address")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--detector",
        default="classical",
        metavar="NAME|FILE",
        help="yolov8n to yolov8x, a file, classical (people, faces), everything (no detector), or boxes (the"
        " rectangles that are in the tasks already) (default %(default)s)",
    )
    models.add_argument("--model", default="auto", metavar="NAME|FILE", help="makes the masks (default %(default)s)")
    models.add_argument("--conf", type=float, metavar="P", help="least score (default: the tag's, else 0.25)")
    models.add_argument(
        "--label-threshold", action="append", default=[], metavar="LABEL=P", help="least score of a label"
    )
    models.add_argument("--iou", type=float, metavar="P", help="overlap above which the surer box stays (default 0.7)")
    models.add_argument("--max-detections", type=int, metavar="N", help="objects per image (default 300)")
    models.add_argument("--at-most", action=RenamedOption, new_name="--max-detections")
    models.add_argument(
        "--map", action="append", default=[], metavar="CLASS=LABEL", help="the detector's class as a label"
    )
    models.add_argument("--shape", metavar="SHAPE", help="auto, brush, polygon, rectangle or bitmask (default auto)")
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("--view", type=int, metavar="N", help="those of a tab of the Data Manager")
    tasks.add_argument("--ids", metavar="1,2,3", help="only these")
    tasks.add_argument("--state", metavar="STATE", help="all, labeled or unlabeled (default all)")
    tasks.add_argument("--without-annotations", action="store_true", help="only tasks without annotations")
    tasks.add_argument("--without-predictions", action="store_true", help="only tasks without predictions")
    tasks.add_argument("--sample", type=int, metavar="N", help="so many, spread evenly")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--policy",
        metavar="POLICY",
        help="skip (default) passes over tasks that have a prediction of the same models and settings, replace-own"
        " replaces predictions of this program, add adds",
    )
    run.add_argument("--show", action="store_true", help="make the predictions the ones that annotators see")
    run.add_argument("--dry-run", type=int, metavar="N", help="draw N tasks into --out and write nothing")
    run.add_argument("--out", type=Path, default=Path("dry-run"), metavar="DIR", help="(default %(default)s)")
    run.add_argument("--engine", metavar="ENGINE", help="local or ray (default local)")
    run.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster (default: one on this machine)")
    run.add_argument("--workers", type=int, metavar="N", help="of Ray (default: one a GPU, or the CPUs but one)")
    run.add_argument(
        "--json", action="store_true", help="the result as JSON on standard output, and nothing else there"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from sam_backend.label_studio.client import LabelStudioApiError

    try:
        configuration = _configuration(args)
        settings = needed_settings()
        if args.dry_run is not None:
            return _dry_run(args, configuration, settings)
        return _preannotate(configuration, settings, args.json)
    except (BackendError, WeightsError) as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1 if isinstance(error, WeightsError) or getattr(error, "status", 400) >= 500 else 2
    except LabelStudioApiError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1


def needed_settings() -> Settings:
    """The settings, with Label Studio's address and token.

    Raises:
        SettingsError: one of the two is missing.
    """
    settings = Settings.from_env()
    for variable, value in (
        ("LABEL_STUDIO_URL", settings.label_studio_url),
        ("LABEL_STUDIO_API_KEY", settings.label_studio_api_key),
    ):
        if not value:
            raise SettingsError(
                f"{variable} is not set; needed: Label Studio's address and a personal access token "
                "(in Label Studio: the avatar, then Account & Settings, Personal Access Token)"
            )
    return settings


def work_in_terminal(run: "Run", settings: Settings, as_json: bool) -> int:
    """Work on a run in this process and show how it goes; Ctrl-C pauses it."""
    import os

    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.runs.runner import work_on
    from sam_model.weights.store import store_from_env

    said: Callable[[str], None] = (lambda words: None) if as_json else _say
    stop = threading.Event()

    def pause(number: int, frame: Any) -> None:
        if not stop.is_set():
            stop.set()
            run.request("pause")

    before = {number: signal.signal(number, pause) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with watch(run, silent=as_json):
            progress = work_on(
                run,
                settings=settings,
                access=LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key),
                store=store_from_env(os.environ),
                notify=said,
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if as_json:
        print(json.dumps(describe(run)))
    else:
        print_summary(run)
    if progress.state in ("paused", "interrupted"):
        return 130
    return 0 if progress.state in ("finished", "undone") and not progress.counts.failed else 1


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _preannotate(configuration: "RunConfiguration", settings: Settings, as_json: bool) -> int:
    from sam_backend.runs.run_store import RunStore, runs_folder

    runs = RunStore(runs_folder(settings.runs_dir))
    origin = _origin(configuration.project, settings)
    run = runs.unfinished(configuration, origin)
    if run is not None:
        if not as_json:
            _say(f"going on with run {run.id}")
        refuse_elsewhere(run, settings)
        run.request("resume")
    else:
        other = runs.unfinished_of_project(origin)
        if other is not None and other.is_locked:
            raise BackendError(f"run {other.id} works on project {configuration.project} at this moment")
        run = runs.create(configuration, origin)
    return work_in_terminal(run, settings, as_json)


def _origin(project: int, settings: Settings) -> "RunOrigin":
    """The project; only its address where Label Studio does not answer: the run waits for it."""
    from sam_backend.label_studio.client import LabelStudioApiError
    from sam_backend.label_studio.projects import project_details
    from sam_backend.runs.origin import RunOrigin, installation_of

    try:
        return RunOrigin.of(settings.label_studio_url, project_details(_quick_api(settings), project))
    except LabelStudioApiError:
        return RunOrigin(installation_of(settings.label_studio_url), project)


def refuse_elsewhere(run: "Run", settings: Settings) -> None:
    """Refuse a run of another Label Studio; one that does not answer is left to the run, which waits for it.

    Raises:
        RunElsewhereError: names both.
    """
    from contextlib import suppress

    from sam_backend.label_studio.client import LabelStudioApiError
    from sam_backend.label_studio.retry_policy import RetryPolicy
    from sam_backend.runs.origin import claim

    with suppress(LabelStudioApiError):
        claim(run, _quick_api(settings), settings.label_studio_url, RetryPolicy(lambda: False, 0.0, lambda words: None))


def _quick_api(settings: Settings) -> "LabelStudioClient":
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.label_studio.credentials import LabelStudioCredentials

    access = LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key)
    return LabelStudioClient(access, timeout_s=CHECK_TIMEOUT_S)


def _dry_run(args: argparse.Namespace, configuration: "RunConfiguration", settings: Settings) -> int:
    import os

    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.runs.preview import preview_run
    from sam_model.weights.store import store_from_env

    if args.dry_run < 1:
        raise SettingsError(f"--dry-run {args.dry_run}: needed: 1 or more")
    found = preview_run(
        configuration,
        args.dry_run,
        settings=settings,
        access=LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key),
        store=store_from_env(os.environ),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    for one in found.images:
        if one.jpeg is not None:
            (args.out / f"task-{one.task_id}.jpg").write_bytes(one.jpeg)
    answer = found.to_json()
    if args.json:
        for image in answer["images"]:
            image["image"] = image["image"] and str(args.out / f"task-{image['task']}.jpg")
        print(json.dumps(answer))
        return 0
    for line in found.report.lines():
        print(line)
    for one in found.images:
        counts = ", ".join(f"{number} {label or 'without label'}" for label, number in one.labels.items())
        print(f"  task {one.task_id}: {one.error or counts or 'nothing found'}")
    estimate = answer["estimate"]
    print(
        f"{len(found.images)} of {estimate['tasks']} tasks drawn into {args.out}; all would take about "
        f"{_duration(estimate['seconds'])} and {estimate['bytes'] / 1e6:.1f} MB of predictions"
    )
    return 0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _configuration(args: argparse.Namespace) -> "RunConfiguration":
    from sam_backend.preannotation.configuration import RunConfiguration

    wanted = {
        "view": args.view,
        "ids": _ids(args.ids) if args.ids is not None else None,
        "state": args.state,
        "without_annotations": args.without_annotations or None,
        "without_predictions": args.without_predictions or None,
        "sample": args.sample,
    }
    given = {
        "project": args.project,
        "detector": args.detector,
        "model": args.model,
        "score_threshold": args.conf,
        "label_thresholds": {label: _threshold(label, value) for label, value in _pairs(args.label_threshold)} or None,
        "label_map": dict(_pairs(args.map)) or None,
        "iou_threshold": args.iou,
        "max_detections": args.max_detections,
        "shape": args.shape,
        "policy": args.policy,
        "filter": {name: value for name, value in wanted.items() if value is not None},
        "engine": args.engine,
        "ray_address": args.address,
        "ray_workers": args.workers,
        "show": args.show,
    }
    return RunConfiguration.from_json({name: value for name, value in given.items() if value is not None})


def _ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not part.isdecimal():
            raise SettingsError(f"--ids {text}: {part!r} is no task's number")
    return [int(part) for part in parts]


def _pairs(given: list[str]) -> list[tuple[str, str]]:
    found = []
    for text in given:
        for part in filter(None, text.split(",")):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            if not (name and sign and value):
                raise SettingsError(f"{part!r}: needed: NAME=VALUE, several with commas between")
            found.append((name, value))
    return found


def _threshold(label: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise SettingsError(f"--label-threshold {label}={value}: {value!r} is not a number from 0 to 1") from None
