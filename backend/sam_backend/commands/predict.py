"""`label-studio-sam predict`: one picture, its prompts or everything in it, to an overlay picture and JSON."""

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from sam_model.weights.errors import WeightsError

if TYPE_CHECKING:
    from sam_model.scripting.results import Results
    from sam_model.types import Prompt

DESCRIPTION = """Segments a picture. All points, with a box or without, are about one object;
several boxes without points are an object each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("image", metavar="IMAGE", help="picture file")
    parser.add_argument(
        "--model", default="mobile_sam", help="name or checkpoint; 'classical' needs no weights (default %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default %(default)s)")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default %(default)s)")
    parser.add_argument(
        "--point", action="append", default=[], metavar="X,Y[,0|1]", help="click in pixels; 0: beside the object"
    )
    parser.add_argument("--box", action="append", default=[], metavar="X1,Y1,X2,Y2", help="box in pixels")
    parser.add_argument("--everything", action="store_true", help="segment everything in the picture")
    parser.add_argument(
        "--points-per-side", type=int, default=32, help="with --everything: clicks to a side (default %(default)s)"
    )
    parser.add_argument("--out", metavar="PICTURE", help="write the picture with masks and prompts drawn over it")
    parser.add_argument("--json", action="store_true", help="write the masks to standard output as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 where weights cannot be had, 2 where the input makes no sense."""
    try:
        results = _segment(args)
        if args.out:
            results.save(args.out)
    except WeightsError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"label-studio-sam: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(results_json(results, args.image)))
    else:
        for score, box in zip(results.scores, results.boxes, strict=True):
            print(f"score {score:.3f}  box {', '.join(f'{edge:g}' for edge in box)}")
        print(f"{len(results.scores)} masks{', drawn in ' + args.out if args.out else ''}")
    return 0


def results_json(results: "Results", image: str) -> dict[str, Any]:
    """The results as JSON: boxes in pixels (x_min, y_min, x_max, y_max), masks as COCO's compressed run lengths."""
    masks = [
        {"score": float(score), "box": box.tolist(), "area": lengths.area, "rle": lengths.to_coco(is_compressed=True)}
        for score, box, lengths in zip(results.scores, results.boxes, results.run_lengths, strict=True)
    ]
    return {"image": image, "size": list(results.image.shape[:2]), "model": results.model, "masks": masks}


def _segment(args: argparse.Namespace) -> "Results":
    from sam_model import SAM, load_segmenter
    from sam_model.images.reader import read_image
    from sam_model.scripting.results import results_from_masks

    asked = _prompts(args)
    image = read_image(args.image)
    for prompt in asked:
        _check_inside(prompt, image.shape[1], image.shape[0])
    if args.model == "classical":
        if args.everything:
            raise ValueError("--everything needs a SAM: the classical segmenter answers points and boxes only")
        segmenter = load_segmenter(args.model)
        return results_from_masks(image, segmenter.segment(segmenter.embed(image), asked), asked, segmenter.name)
    model = SAM(args.model, args.device, args.dtype)
    if args.everything:
        return model(image, image_format="RGB", points_per_side=args.points_per_side)
    segmenter = model.segmenter
    return results_from_masks(image, segmenter.segment(segmenter.embed(image), asked), asked, segmenter.name)


def _prompts(args: argparse.Namespace) -> "list[Prompt]":
    """The prompts asked for; none with --everything."""
    from sam_model.types import Point, Prompt

    points = [_numbers(text, "--point", (2, 3)) for text in args.point]
    boxes = [_numbers(text, "--box", (4,)) for text in args.box]
    if args.everything:
        if points or boxes:
            raise ValueError("--everything goes without --point and --box")
        return []
    if not points and not boxes:
        raise ValueError("nothing to segment: give --point, --box or --everything")
    clicks = []
    for text, (x, y, *label) in zip(args.point, points, strict=True):
        if label not in ([], [0.0], [1.0]):
            raise ValueError(f"--point {text}: the label is 1 (on the object) or 0 (beside it)")
        clicks.append(Point(x, y, is_positive=label != [0.0]))
    corners = [(x_min, y_min, x_max, y_max) for x_min, y_min, x_max, y_max in boxes]
    if not clicks:
        return [Prompt(box=box) for box in corners]
    if len(corners) > 1:
        raise ValueError(f"--point with {len(corners)} boxes: the points are about one object, which has one box")
    return [Prompt(points=tuple(clicks), box=corners[0] if corners else None)]


def _check_inside(prompt: "Prompt", width: int, height: int) -> None:
    """Not every segmenter refuses what lies beside the picture; typed by hand it is a mistake."""
    for point in prompt.points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):
            raise ValueError(f"--point {point.x:g},{point.y:g} is outside the picture of {width} x {height} pixels")
    if prompt.box is not None:
        x_min, y_min, x_max, y_max = prompt.box
        named = ",".join(f"{edge:g}" for edge in prompt.box)
        if x_min >= x_max or y_min >= y_max:
            raise ValueError(f"--box {named} has no area: needed: X1 < X2 and Y1 < Y2")
        if x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            raise ValueError(f"--box {named} is outside the picture of {width} x {height} pixels")


def _numbers(text: str, option: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} {text}: not numbers with commas between") from error
    if len(numbers) not in counts or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{option} {text}: needed: {' or '.join(str(count) for count in counts)} finite numbers")
    return numbers
