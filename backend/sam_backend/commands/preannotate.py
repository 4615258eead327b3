"""`label-studio-sam preannotate`: run a detector and a segmenter over a project of Label Studio."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_backend.commands.label_studio_settings import label_studio_settings
from sam_backend.commands.renamed_option import RenamedOption
from sam_backend.commands.result import CommandResult
from sam_backend.commands.run_display import run_result, watch
from sam_backend.errors import BackendError
from sam_backend.settings import Settings, SettingsError

if TYPE_CHECKING:
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.preannotation.configuration import RunConfiguration
    from sam_backend.runs.origin import RunOrigin
    from sam_backend.runs.run_store import Run

CHECK_TIMEOUT_S = 10.0  # for Label Studio to describe the project of a run

DESCRIPTION = """Write predictions for the tasks of a project. Annotations and the predictions of other programs stay
unchanged. LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are required. Ctrl-C pauses the run; the same command
continues it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("--project", type=int, required=True, metavar="N", help="the project's number, as in its URL")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--detector",
        metavar="NAME|FILE",
        help="yolov8n to yolov8x, a file, classical (people, faces), everything (segment everything), boxes (the"
        " rectangles in the tasks), or exemplars (what is like the annotated regions)"
        " (default classical; with --text the best one that is installed)",
    )
    models.add_argument(
        "--text", metavar="WORDS", help="what to look for, such as 'cat, red car=Vehicle', where Vehicle is a label"
    )
    models.add_argument(
        "--model", default="auto", metavar="NAME|FILE", help="segmenter of the masks (default %(default)s)"
    )
    models.add_argument(
        "--conf", type=float, metavar="P", help="minimum score (default: of the control tag, else 0.25)"
    )
    models.add_argument(
        "--label-threshold", action="append", default=[], metavar="LABEL=P", help="minimum score of one label"
    )
    models.add_argument(
        "--iou", type=float, metavar="P", help="IoU above which the lower-scoring box is removed (default 0.7)"
    )
    models.add_argument(
        "--max-detections", type=int, metavar="N", help="maximum number of objects per image (default 300)"
    )
    models.add_argument("--at-most", action=RenamedOption, new_name="--max-detections")
    models.add_argument(
        "--points-per-side",
        type=int,
        metavar="N",
        help="with everything: N x N points are segmented (default 32 with a SAM, 8 with classical; FastSAM has none)",
    )
    models.add_argument(
        "--map", action="append", default=[], metavar="CLASS=LABEL", help="label for a class of the detector"
    )
    models.add_argument(
        "--shape",
        metavar="SHAPE",
        help="shape of the regions: auto, brush, polygon, rectangle or bitmask (default auto)",
    )
    models.add_argument(
        "--calibration",
        metavar="RUN",
        help="turn scores into probabilities with the calibration of this run (evaluate --calibrate); thresholds are"
        " the models' own scores",
    )
    models.add_argument(
        "--descriptor",
        metavar="ENGINE",
        help="with --detector exemplars, what compares objects: auto, owlv2, sam or classical (default auto)",
    )
    models.add_argument(
        "--proposals",
        metavar="NAME|FILE",
        help="with --detector exemplars, what proposes regions: segmenter, or a detector whose boxes are used"
        " (default segmenter)",
    )
    models.add_argument(
        "--example-tasks", metavar="1,2,3", help="with --detector exemplars, the annotated tasks to use (default all)"
    )
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("--view", type=int, metavar="N", help="only the tasks of this tab of the Data Manager")
    tasks.add_argument("--ids", metavar="1,2,3", help="only these tasks")
    tasks.add_argument(
        "--state", metavar="STATE", help="only tasks in this state: all, labeled or unlabeled (default all)"
    )
    tasks.add_argument("--without-annotations", action="store_true", help="only tasks without annotations")
    tasks.add_argument("--without-predictions", action="store_true", help="only tasks without predictions")
    tasks.add_argument("--sample", type=int, metavar="N", help="only N tasks, evenly spaced")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--policy",
        metavar="POLICY",
        help="skip (default): skip tasks with a prediction of the same models and settings; replace-own: replace the"
        " predictions of this program; add: always add a prediction",
    )
    run.add_argument("--show", action="store_true", help="show these predictions to annotators")
    run.add_argument(
        "--dry-run", type=int, metavar="N", help="draw the results of N tasks into --out; write no predictions"
    )
    run.add_argument(
        "--out", type=Path, default=Path("dry-run"), metavar="DIR", help="folder of --dry-run (default %(default)s)"
    )
    run.add_argument("--engine", metavar="ENGINE", help="where to compute: local or ray (default local)")
    run.add_argument(
        "--address", metavar="HOST:PORT", help="address of the Ray cluster (default: a cluster on this machine)"
    )
    run.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of Ray workers (default: one per GPU, or the number of CPUs minus one)",
    )
    run.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Pre-annotate the project, or draw some tasks with --dry-run.

    Raises:
        SettingsError: an argument or a setting cannot be used.
        BackendError: the run cannot be started or continued.
        WeightsError: the weights of a model are missing.
    """
    configuration = _configuration(args)
    settings = label_studio_settings()
    if args.dry_run is not None:
        return _dry_run(args, configuration, settings)
    return start_or_continue(configuration, settings, args.json)


def work_in_terminal(run: "Run", settings: Settings, as_json: bool) -> CommandResult:
    """Work on a run in this process and show its progress; Ctrl-C pauses it.

    The exit code is 0 if all tasks succeeded, 130 if the run was paused, else 1.
    """
    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.runs.runner import work_on
    from sam_backend.segmenter.weight_store import weight_store

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
                store=weight_store(settings),
                notify=said,
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    is_done = progress.state in ("finished", "undone") and not progress.counts.failed
    code = 130 if progress.state in ("paused", "interrupted") else 0 if is_done else 1
    return replace(run_result(run), exit_code=code)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def start_or_continue(configuration: "RunConfiguration", settings: Settings, as_json: bool) -> CommandResult:
    """Work on a run in this process: an unfinished one with this configuration, else a new one.

    Raises:
        BackendError: another process works on a run of the project, or the run belongs to another Label Studio.
    """
    from sam_backend.runs.run_store import RunStore, runs_folder

    runs = RunStore(runs_folder(settings.runs_dir))
    origin = _origin(configuration.project, settings)
    run = runs.unfinished(configuration, origin)
    if run is not None:
        if not as_json:
            _say(f"continuing run {run.id}")
        refuse_elsewhere(run, settings)
        run.request("resume")
    else:
        other = runs.unfinished_of_project(origin)
        if other is not None and other.is_locked:
            raise BackendError(
                f"run {other.id} is working on project {configuration.project}; "
                f"wait for it, or pause it: label-studio-sam runs pause {other.id}"
            )
        run = runs.create(configuration, origin)
    return work_in_terminal(run, settings, as_json)


def _origin(project: int, settings: Settings) -> "RunOrigin":
    """Return the origin of a new run; without the project's identity if Label Studio does not answer."""
    from sam_backend.label_studio.client import LabelStudioApiError
    from sam_backend.label_studio.projects import project_details
    from sam_backend.runs.origin import RunOrigin, installation_of

    try:
        return RunOrigin.of(settings.label_studio_url, project_details(_client_with_short_timeout(settings), project))
    except LabelStudioApiError:
        return RunOrigin(installation_of(settings.label_studio_url), project)


def refuse_elsewhere(run: "Run", settings: Settings) -> None:
    """Refuse a run of another Label Studio. If Label Studio does not answer, the run checks it later.

    Raises:
        RunElsewhereError: the run belongs to another Label Studio or project.
    """
    from contextlib import suppress

    from sam_backend.label_studio.client import LabelStudioApiError
    from sam_backend.label_studio.retry_policy import RetryPolicy
    from sam_backend.runs.origin import claim

    with suppress(LabelStudioApiError):
        claim(
            run,
            _client_with_short_timeout(settings),
            settings.label_studio_url,
            RetryPolicy(lambda: False, 0.0, lambda words: None),
        )


def _client_with_short_timeout(settings: Settings) -> "LabelStudioClient":
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.label_studio.credentials import LabelStudioCredentials

    access = LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key)
    return LabelStudioClient(access, timeout_s=CHECK_TIMEOUT_S)


def _dry_run(args: argparse.Namespace, configuration: "RunConfiguration", settings: Settings) -> CommandResult:
    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.runs.preview import preview_run
    from sam_backend.segmenter.weight_store import weight_store

    if args.dry_run < 1:
        raise SettingsError(f"--dry-run {args.dry_run} is less than 1")
    found = preview_run(
        configuration,
        args.dry_run,
        settings=settings,
        access=LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key),
        store=weight_store(settings),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    for one in found.images:
        jpeg = one.drawn_jpeg
        if jpeg is not None:
            (args.out / f"task-{one.task_id}.jpg").write_bytes(jpeg)
    answer = found.to_json()
    for image in answer["images"]:
        image["image"] = image["image"] and str(args.out / f"task-{image['task']}.jpg")
        for each in image["objects"]:
            del each["outline"]  # is drawn in the file
    lines = list(found.report.lines())
    for one in found.images:
        counts = ", ".join(f"{number} {label or 'without label'}" for label, number in one.labels.items())
        lines.append(f"  task {one.task_id}: {one.error or counts or 'no objects'}")
    estimate = answer["estimate"]
    lines.append(
        f"{len(found.images)} of {estimate['tasks']} tasks drawn into {args.out}; all tasks would take about "
        f"{_duration(estimate['seconds'])} and {estimate['bytes'] / 1e6:.1f} MB of predictions"
    )
    return CommandResult(answer, "\n".join(lines))


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
        "detector": None if args.detector is None else _absolute(args.detector),
        "text": args.text,
        "descriptor": args.descriptor,
        "proposals": None if args.proposals is None else _absolute(args.proposals),
        "example_tasks": _ids(args.example_tasks, "--example-tasks") if args.example_tasks is not None else None,
        "model": args.model,
        "score_threshold": args.conf,
        "label_thresholds": {label: _threshold(label, value) for label, value in _pairs(args.label_threshold)} or None,
        "label_map": dict(_pairs(args.map)) or None,
        "iou_threshold": args.iou,
        "max_detections": args.max_detections,
        "points_per_side": args.points_per_side,
        "shape": args.shape,
        "calibration": args.calibration,
        "policy": args.policy,
        "filter": {name: value for name, value in wanted.items() if value is not None},
        "engine": args.engine,
        "ray_address": args.address,
        "ray_workers": args.workers,
        "show": args.show,
    }
    return RunConfiguration.from_json({name: value for name, value in given.items() if value is not None})


def _absolute(name_or_path: str) -> str:
    """Return the full path of a file in the working directory, which takes precedence over one in SAM_WEIGHTS_DIR."""
    path = Path(name_or_path)
    return str(path.resolve()) if path.suffix and path.is_file() else name_or_path


def _ids(text: str, option: str = "--ids") -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not part.isdecimal():
            raise SettingsError(f"{option} {text}: {part!r} is not the number of a task")
    return [int(part) for part in parts]


def _pairs(given: list[str]) -> list[tuple[str, str]]:
    found = []
    for text in given:
        for part in filter(None, text.split(",")):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            if not (name and sign and value):
                raise SettingsError(f"{part!r} is not NAME=VALUE, with commas between several")
            found.append((name, value))
    return found


def _threshold(label: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise SettingsError(f"--label-threshold {label}={value}: {value!r} is not a number from 0 to 1") from None
