"""`label-studio-sam bench`: measure the models of the catalogue, or the runtimes of one model, on this machine."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_backend.commands.result import CommandResult
from sam_backend.segmenter.weight_store import weight_store
from sam_backend.settings import Settings
from sam_model.weights.catalog import CATALOG, find_weights

if TYPE_CHECKING:
    from sam_model.benchmark.model_speed import ModelSpeed
    from sam_model.benchmark.runtime_comparison import RuntimeComparison
    from sam_model.types import Image

DESCRIPTION = """Measure each model: file size, number of parameters, and time per image of one prompt (the first point
on a new image, and the next point on the same image) and of segment everything (SAM: a grid of points; FastSAM and
YOLOv8: one forward pass). A model without downloaded weights is measured with random weights."""
RUNTIMES_DESCRIPTION = """Measure one model with PyTorch in float32, with the fastest runtime of this machine, and with
the code of its authors if that is installed. They take turns in one process, and ratios are of neighbouring turns. The
quality beside the speed is the IoU of the masks of both runtimes. A model without downloaded weights has random
ones."""
SEEDED = "* random weights, because the file is not downloaded"
SEEDED_MODELS = f"{SEEDED}: no objects are found, so no post-processing is measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the subcommand and their arguments."""
    parts = parser.add_subparsers(required=True, metavar="ACTION")
    models = parts.add_parser("models", help="measure size and speed of the models", description=DESCRIPTION)
    models.add_argument("--models", metavar="A,B", help="models to measure (default: all of the catalogue)")
    models.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, 0, mps or auto, the best one (default %(default)s)"
    )
    models.add_argument(
        "--image", metavar="IMAGE", help="image to measure with (default: a synthetic image of 1280 x 720 pixels)"
    )
    models.add_argument(
        "--points-per-side",
        type=int,
        default=32,
        metavar="N",
        help="points per side of SAM's grid; 0 skips segment everything (default %(default)s)",
    )
    models.add_argument("--plot", type=Path, metavar="IMAGE", help="image file to write: a chart of the times")
    models.add_argument("--json", action="store_true", help="print JSON instead of a table")
    models.set_defaults(measure=measure_models)
    runtimes = parts.add_parser("runtimes", help="compare the runtimes of a model", description=RUNTIMES_DESCRIPTION)
    runtimes.add_argument("--model", default="mobile_sam", help="a SAM of the catalogue (default %(default)s)")
    runtimes.add_argument("--device", default="auto", help="as for models (default %(default)s)")
    runtimes.add_argument("--image", metavar="IMAGE", help="as for models")
    runtimes.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each (default %(default)s)")
    runtimes.add_argument("--plot", type=Path, metavar="IMAGE", help="as for models")
    runtimes.add_argument("--json", action="store_true", help="print JSON instead of a table")
    runtimes.set_defaults(measure=measure_runtimes)


def run(args: argparse.Namespace) -> CommandResult:
    """Measure the models or the runtimes.

    Raises:
        ValueError: an argument cannot be used.
        WeightsError: a file of weights is not a checkpoint.
    """
    measured: CommandResult = args.measure(args)
    return measured


def measure_runtimes(args: argparse.Namespace) -> CommandResult:
    """Compare the runtimes of a model.

    Raises:
        ValueError: an argument cannot be used.
        WeightsError: a file of weights is not a checkpoint.
    """
    from sam_model.benchmark.compared_model import compared_model
    from sam_model.benchmark.model_speed import machine_info
    from sam_model.benchmark.runtime_comparison import compare_runtimes
    from sam_model.sam.segmenter import SamSegmenter

    if args.rounds < 1:
        raise ValueError(f"--rounds {args.rounds} is less than 1")
    store = weight_store(Settings.from_env())
    compared = compared_model(find_weights(args.model), store, "cpu" if args.device == "auto" else args.device)
    if not isinstance(compared.model, SamSegmenter):
        raise ValueError(f"--model {args.model}: needed: a SAM, such as mobile_sam or sam_b")
    image, machine = _image(args.image), machine_info()
    found = compare_runtimes(compared.model, image, args.rounds, store.converted_folder, args.device)
    machine["load_average_after"] = machine_info()["load_average"]
    shown = (
        f"{compared.model.name}{'*' if compared.is_seeded else ''}, {image.shape[1]} x {image.shape[0]} pixels, "
        f"{machine['processor']}, {machine['threads']} threads"
    )
    footnote = SEEDED if compared.is_seeded else ""
    if args.plot:
        from sam_model.benchmark.speed_plot import draw_runtimes

        args.plot.parent.mkdir(parents=True, exist_ok=True)
        draw_runtimes(found, shown, footnote).save(args.plot)
    head = f"{shown}, load average {_load(machine)}"
    lines = [f"{head}\n", *_runtime_lines(found), *filter(None, [footnote])]
    answer = {"machine": machine, "model": compared.model.name, "is_seeded": compared.is_seeded, **asdict(found)}
    return CommandResult(answer, "\n".join(lines))


def _runtime_lines(found: "RuntimeComparison") -> list[str]:
    sides = [*(["authors"] if found.has_authors else []), "torch", "auto"]
    words = {"authors": "authors, ms", "torch": "PyTorch, ms", "auto": f"{found.runtime}, ms"}
    lines = [f"{'':<10}" + "".join(f"{words[side]:>24}" for side in sides) + f"{'times as fast':>24}{'processor':>11}"]
    for name, row in found.rows.items():
        low, high = row["auto"]["range"]
        cells = "".join(f"{_ms(row[side]['median_ms']):>24}" for side in sides)
        ratio = f"{row['auto']['ratio']:.1f} ({low:.1f} to {high:.1f})"
        lines.append(f"{name:<10}{cells}{ratio:>24}{row['auto']['cpu_ratio']:>11.1f}")
    least, mean = found.iou
    return [*lines, f"\nIoU of the masks of PyTorch and {found.runtime}: minimum {least:.4f}, mean {mean:.4f}"]


def measure_models(args: argparse.Namespace) -> CommandResult:
    """Measure the models.

    Raises:
        ValueError: an argument cannot be used.
        WeightsError: a file of weights is not a checkpoint.
    """
    from sam_model.benchmark.compared_model import compared_model
    from sam_model.benchmark.model_speed import machine_info, measure

    chosen = [find_weights(name.strip()) for name in args.models.split(",")] if args.models else list(CATALOG)
    if args.points_per_side < 0:
        raise ValueError(f"--points-per-side {args.points_per_side} is less than 0")
    store = weight_store(Settings.from_env())
    image, machine = _image(args.image), machine_info()
    rows = []
    with tqdm(chosen, unit="model", disable=None) as bar:
        for weights in bar:
            bar.set_description(weights.model)
            rows.append(measure(compared_model(weights, store, args.device), image, args.points_per_side or None))
    machine["load_average_after"] = machine_info()["load_average"]
    shown = f"{image.shape[1]} x {image.shape[0]} pixels, {machine['processor']}, {machine['threads']} threads"
    footnote = SEEDED_MODELS if any(row.is_seeded for row in rows) else ""
    if args.plot:
        from sam_model.benchmark.speed_plot import draw_speeds

        args.plot.parent.mkdir(parents=True, exist_ok=True)
        draw_speeds(rows, shown, footnote).save(args.plot)
    head = f"{shown}, PyTorch {machine['torch']}, load average {_load(machine)}"
    answer = {"machine": machine, **_settings(args, image), "rows": [asdict(row) for row in rows]}
    parts = [f"{head}\n", _table(rows, args.points_per_side), footnote]
    return CommandResult(answer, "\n".join(filter(None, parts)))


def _load(machine: dict[str, Any]) -> str:
    """Return the load before and after the measurement: other work on the machine makes the times longer."""
    return f"{machine['load_average']} before, {machine['load_average_after']} after"


def _settings(args: argparse.Namespace, image: "Image") -> dict[str, Any]:
    return {"image_size": list(image.shape[:2]), "points_per_side": args.points_per_side, "device": args.device}


def _image(path: str | None) -> "Image":
    from sam_model.benchmark.model_speed import synthetic_image
    from sam_model.images.reader import read_image

    return synthetic_image() if path is None else read_image(path)


def _table(rows: "list[ModelSpeed]", points_per_side: int) -> str:
    lines = [
        f"{'model':<24}{'file MB':>9}{'parameters':>12}{'one prompt':>14}{'next prompt':>13}{'everything':>14}  licence"
    ]
    lines.append(f"{'':<24}{'':>9}{'millions':>12}{'ms':>14}{'ms':>13}{'ms':>14}")
    for row in rows:
        name = row.name + ("*" if row.is_seeded else "")
        size = f"{'' if row.is_size_exact else '~'}{row.size_mb:.1f}"
        times = f"{_ms(row.prompt_ms):>14}{_ms(row.next_prompt_ms):>13}{_ms(row.everything_ms):>14}"
        lines.append(f"{name:<24}{size:>9}{row.parameters / 1e6:>12.1f}{times}  {row.licence}")
    if points_per_side:
        lines.append(
            f"\neverything: SAM with {points_per_side} x {points_per_side} points, the others with one forward pass"
        )
    return "\n".join(lines)


def _ms(time: float | None) -> str:
    return "-" if time is None else f"{time:,.1f}" if time < 100 else f"{time:,.0f}"
