"""`label-studio-sam bench models`: the models of the catalogue side by side, on this machine."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_model.weights.catalog import CATALOG, find_weights
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import store_from_env

if TYPE_CHECKING:
    from sam_model.benchmark.model_speed import ModelSpeed
    from sam_model.types import Image

DESCRIPTION = """File size, parameters and time per picture of each model: one prompt (a click on a new picture, and a
further click on the same one) and everything (SAM: a grid of clicks; FastSAM and YOLOv8: one look). A model whose
weights are not here is measured with random ones; nothing is downloaded."""
SEEDED = (
    "* random weights, since its file is not here: they find nothing, so work for what is found is not in its times"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own commands."""
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    models = parts.add_parser("models", help="size and speed of the models", description=DESCRIPTION)
    models.add_argument("--models", metavar="A,B", help="only these; all of the catalogue if not given")
    models.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default %(default)s)")
    models.add_argument(
        "--image", metavar="PICTURE", help="what they look at; a made picture of 1280 x 720 if not given"
    )
    models.add_argument(
        "--points-per-side",
        type=int,
        default=32,
        metavar="N",
        help="SAM's everything clicks N x N times; 0 leaves it out (default %(default)s)",
    )
    models.add_argument("--plot", type=Path, metavar="PICTURE", help="draw the times, too")
    models.add_argument("--json", action="store_true", help="write JSON to standard output instead of a table")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 where weights are wrong, 2 where the input makes no sense."""
    try:
        return _compare(args)
    except WeightsError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"label-studio-sam: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _compare(args: argparse.Namespace) -> int:
    from sam_model.benchmark.compared_model import compared_model
    from sam_model.benchmark.model_speed import machine_info, measure

    chosen = [find_weights(name.strip()) for name in args.models.split(",")] if args.models else list(CATALOG)
    if args.points_per_side < 0:
        raise ValueError(f"--points-per-side {args.points_per_side}: needed: 0 or more")
    store = store_from_env(os.environ)
    image, machine = _image(args.image), machine_info()
    rows = []
    with tqdm(chosen, unit="model", disable=None) as bar:
        for weights in bar:
            bar.set_description(weights.model)
            rows.append(measure(compared_model(weights, store, args.device), image, args.points_per_side or None))
    machine["load_average_after"] = machine_info()["load_average"]
    shown = f"{image.shape[1]} x {image.shape[0]} pixels, {machine['processor']}, {machine['threads']} threads"
    footnote = SEEDED if any(row.is_seeded for row in rows) else ""
    if args.plot:
        from sam_model.benchmark.speed_plot import draw_speeds

        args.plot.parent.mkdir(parents=True, exist_ok=True)
        draw_speeds(rows, shown, footnote).save(args.plot)
    if args.json:
        print(json.dumps({"machine": machine, **_settings(args, image), "rows": [asdict(row) for row in rows]}))
    else:
        print(f"{shown}, PyTorch {machine['torch']}, load average {_load(machine)}\n")
        print(_table(rows, args.points_per_side))
        print(footnote, end="\n" if footnote else "")
    return 0


def _load(machine: dict[str, Any]) -> str:
    """Other work on the machine makes every time longer, so it is told."""
    return f"{machine['load_average']} as it began and {machine['load_average_after']} as it ended"


def _settings(args: argparse.Namespace, image: "Image") -> dict[str, Any]:
    return {"image_size": list(image.shape[:2]), "points_per_side": args.points_per_side, "device": args.device}


def _image(path: str | None) -> "Image":
    from sam_model.benchmark.model_speed import synthetic_image
    from sam_model.images.reader import read_image

    return synthetic_image() if path is None else read_image(path)


def _table(rows: "list[ModelSpeed]", points_per_side: int) -> str:
    lines = [
        f"{'model':<14}{'file MB':>9}{'parameters':>12}{'one prompt':>14}{'next prompt':>13}{'everything':>14}  licence"
    ]
    lines.append(f"{'':<14}{'':>9}{'millions':>12}{'ms':>14}{'ms':>13}{'ms':>14}")
    for row in rows:
        name = row.name + ("*" if row.is_seeded else "")
        size = f"{'' if row.is_size_exact else '~'}{row.size_mb:.1f}"
        times = f"{_ms(row.prompt_ms):>14}{_ms(row.next_prompt_ms):>13}{_ms(row.everything_ms):>14}"
        lines.append(f"{name:<14}{size:>9}{row.parameters / 1e6:>12.1f}{times}  {row.licence}")
    if points_per_side:
        lines.append(f"\neverything: SAM with {points_per_side} x {points_per_side} clicks, the others with one look")
    return "\n".join(lines)


def _ms(time: float | None) -> str:
    return "-" if time is None else f"{time:,.1f}" if time < 100 else f"{time:,.0f}"
