"""`label-studio-sam predict`: segment one image by prompts, or everything in it; write an overlay image and JSON."""

import argparse
import math
from typing import TYPE_CHECKING, Any, cast

import PIL.Image

from sam_backend.commands.result import CommandResult
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.overlay import draw_overlay

if TYPE_CHECKING:
    from sam_model.masks.coco_rle import RunLengths
    from sam_model.scripting.results import Results
    from sam_model.types import Box, Prompt

DESCRIPTION = """Segment one image. All points belong to one object, with or without a box; without points, each box is
an object."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("image", metavar="IMAGE", help="image file")
    parser.add_argument(
        "--model",
        default="mobile_sam",
        help="model name or checkpoint file; 'classical' needs no weights (default %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default %(default)s)")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default %(default)s)")
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="X,Y[,0|1]",
        help="point in pixels; 1 (default): positive, 0: negative",
    )
    parser.add_argument("--box", action="append", default=[], metavar="X1,Y1,X2,Y2", help="box in pixels")
    parser.add_argument("--everything", action="store_true", help="segment everything in the image")
    parser.add_argument(
        "--points-per-side",
        type=int,
        default=32,
        help="points per side of the grid of --everything (default %(default)s)",
    )
    parser.add_argument("--out", metavar="IMAGE", help="write the image with its masks and prompts drawn over it")
    parser.add_argument("--json", action="store_true", help="print the masks as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Segment the image.

    Raises:
        ValueError: the image, a prompt or the model cannot be used.
        OSError: a file cannot be read or written.
        WeightsError: the weights are missing or are not a checkpoint.
    """
    results = _segment(args)
    if args.out:
        overlay = draw_overlay(results.image, results.run_lengths, results.prompts)
        PIL.Image.fromarray(overlay).save(args.out)
    lines = [
        f"score {score:.3f}  box {', '.join(f'{edge:g}' for edge in _box(lengths))}"
        for score, lengths in zip(results.scores, results.run_lengths, strict=True)
    ]
    lines.append(f"{len(results.scores)} masks{', drawn in ' + args.out if args.out else ''}")
    return CommandResult(results_json(results, args.image), "\n".join(lines))


def results_json(results: "Results", image: str) -> dict[str, Any]:
    """Return boxes (x_min, y_min, x_max, y_max) in pixels and masks as COCO's compressed run lengths."""
    masks = [
        {
            "score": float(score),
            "box": list(_box(lengths)),
            "area": lengths.area,
            "rle": lengths.to_coco(is_compressed=True),
        }
        for score, lengths in zip(results.scores, results.run_lengths, strict=True)
    ]
    return {"image": image, "size": list(results.orig_shape), "model": results.model, "masks": masks}


def _box(lengths: "RunLengths") -> "Box":
    """Return the box around a mask; zeros around an empty one."""
    return box_from_mask(lengths.mask) or (0.0, 0.0, 0.0, 0.0)


def _segment(args: argparse.Namespace) -> "Results":
    from sam_model import SAM, load_segmenter
    from sam_model.images.reader import read_image
    from sam_model.scripting.segmentation import results_from_masks

    asked = _prompts(args)
    image = read_image(args.image)
    for prompt in asked:
        _check_inside(prompt, image.shape[1], image.shape[0])
    if args.model == "classical":
        if args.everything:
            raise ValueError(
                "--everything: the classical segmenter supports points and boxes only; choose a SAM with --model"
            )
        segmenter = load_segmenter(args.model)
        return results_from_masks(image, segmenter.segment(segmenter.embed(image), asked), asked, segmenter.name)
    model = SAM(args.model, args.device, args.dtype)
    if args.everything:
        (results,) = model(
            image, image_format="RGB", points_per_side=args.points_per_side, conf=0.0, verbose=not args.json
        )
        return cast("Results", results)
    segmenter = model.segmenter
    return results_from_masks(image, segmenter.segment(segmenter.embed(image), asked), asked, segmenter.name)


def _prompts(args: argparse.Namespace) -> "list[Prompt]":
    """Return the prompts of --point and --box; none with --everything."""
    from sam_model.types import Point, Prompt

    points = [_numbers(text, "--point", (2, 3)) for text in args.point]
    boxes = [_numbers(text, "--box", (4,)) for text in args.box]
    if args.everything:
        if points or boxes:
            raise ValueError("--everything cannot be combined with --point or --box")
        return []
    if not points and not boxes:
        raise ValueError("no prompt: give --point, --box or --everything")
    clicks = []
    for text, (x, y, *label) in zip(args.point, points, strict=True):
        if label not in ([], [0.0], [1.0]):
            raise ValueError(f"--point {text}: the label must be 1 (positive) or 0 (negative)")
        clicks.append(Point(x, y, is_positive=label != [0.0]))
    corners = [(x_min, y_min, x_max, y_max) for x_min, y_min, x_max, y_max in boxes]
    if not clicks:
        return [Prompt(box=box) for box in corners]
    if len(corners) > 1:
        raise ValueError(
            f"--point with {len(corners)} boxes: points belong to one object, which has one box; give one --box"
        )
    return [Prompt(points=tuple(clicks), box=corners[0] if corners else None)]


def _check_inside(prompt: "Prompt", width: int, height: int) -> None:
    """Refuse prompts outside the image, which not every segmenter does."""
    for point in prompt.points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):
            raise ValueError(f"--point {point.x:g},{point.y:g} is outside the image of {width} x {height} pixels")
    if prompt.box is not None:
        x_min, y_min, x_max, y_max = prompt.box
        named = ",".join(f"{edge:g}" for edge in prompt.box)
        if x_min >= x_max or y_min >= y_max:
            raise ValueError(f"--box {named} has no area; X1 must be less than X2, and Y1 less than Y2")
        if x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            raise ValueError(f"--box {named} is outside the image of {width} x {height} pixels")


def _numbers(text: str, option: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} {text}: not numbers separated by commas") from error
    if len(numbers) not in counts or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{option} {text}: needed: {' or '.join(str(count) for count in counts)} finite numbers")
    return numbers
