"""`label-studio-sam predict`: segment images by prompts, by texts, or everything in them."""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from sam_backend.commands.predict_prompts import check_inside, prompts_from_options
from sam_backend.commands.prediction_output import (
    PredictionFiles,
    image_json,
    image_line,
    object_lines,
    objects_words,
)
from sam_backend.commands.renamed_option import RenamedOption
from sam_backend.commands.result import CommandFailedError, CommandResult

if TYPE_CHECKING:
    from sam_model.scripting.any_model import PredictionRequest
    from sam_model.scripting.sources import SourceImage

DESCRIPTION = """Segment images. All points belong to one object, with or without a box; without points, each box is an
object. Without points, boxes and texts, everything is segmented. An image that cannot be read is reported, the others
are predicted, and the exit code is 1."""
SHOWN_FAILURES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "source", metavar="SOURCE", help="image, video, folder, pattern ('x/*.jpg'), URL, or .txt file with such lines"
    )
    parser.add_argument(
        "--model",
        default="mobile_sam",
        metavar="NAME|FILE",
        help="SAM, FastSAM, YOLO or ONNX detector, or a folder of transformers; 'classical' needs no download (default "
        "%(default)s)",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, 0, mps or auto, the best one")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default %(default)s)")
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="X,Y[,0|1]",
        help="point in pixels; 1 (default): positive, 0: negative",
    )
    parser.add_argument("--box", action="append", default=[], metavar="X1,Y1,X2,Y2", help="box in pixels")
    parser.add_argument(
        "--text", action="append", default=[], metavar="NAME", help="object to look for: a class of the detector"
    )
    parser.add_argument(
        "--detector",
        metavar="NAME|FILE|DIR",
        help="detector of --text; sam3, owlv2_base, llmdet_tiny and folders of transformers know any text (default "
        "yolov8x, or classical)",
    )
    parser.add_argument("--conf", type=float, help="minimum score, 0 to 1 (default: that of the model)")
    parser.add_argument(
        "--points-stride", type=int, metavar="N", help="points per side of SAM's grid for everything (default 32)"
    )
    parser.add_argument("--points-per-side", action=RenamedOption, new_name="--points-stride")
    parser.add_argument(
        "--crop-n-layers",
        type=int,
        default=0,
        metavar="N",
        help="layers of crops in which SAM segments everything, too (default %(default)s)",
    )
    parser.add_argument("--proposals", action="store_true", help="find as many objects as possible, at most 1000")
    parser.add_argument("--edges", action="store_true", help="write an edge map of each image, NAME-edges.png")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write the images with their masks to")
    parser.add_argument("--save-txt", action="store_true", help="write YOLO labels to DIR/labels, too")
    parser.add_argument("--json", action="store_true", help="print the objects as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Predict the images; the exit code is 1 if images failed.

    Raises:
        ValueError: the source, a prompt or the model cannot be used.
        OSError: a file cannot be read or written.
        WeightsError: the weights are missing or are not a checkpoint.
        CommandFailedError: no image could be read.
    """
    from sam_model.scripting.any_model import PredictionRequest, load_any_model
    from sam_model.scripting.sources import open_source

    _check_options(args)
    prompts = prompts_from_options(args.point, args.box)
    request = PredictionRequest(
        prompts, tuple(args.text), args.conf, args.points_stride, args.crop_n_layers, args.proposals
    )
    failures: list[str] = []
    images = open_source(args.source, on_failure=failures.append)
    model = load_any_model(args.model, args.device, args.dtype)
    images = _checked(images, request, failures)
    result = _edges(args, model, images) if args.edges else _objects(args, model, request, images)
    shown = failures[:SHOWN_FAILURES]
    if len(failures) > len(shown):
        shown.append(f"and {len(failures) - len(shown)} more images")
    answer = {"model": model.name, **result.json, "errors": failures}
    return CommandResult(answer, result.text, tuple(shown), exit_code=1 if failures else 0)


def _check_options(args: argparse.Namespace) -> None:
    alone = {"--edges": args.edges, "--proposals": args.proposals, "--text": args.text}
    asked = [name for name, value in alone.items() if value]
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} cannot be combined")
    if asked and (args.point or args.box):
        raise ValueError(f"{asked[0]} cannot be combined with --point or --box")
    if args.out is None and (args.edges or args.save_txt):
        raise ValueError(f"{'--edges' if args.edges else '--save-txt'} writes files: name their folder with --out DIR")
    if args.out is not None and args.out.suffix.lower() in (".bmp", ".jpg", ".jpeg", ".png", ".webp"):
        raise ValueError(f"--out {args.out} looks like a file; needed: a folder")
    if args.conf is not None and not 0 <= args.conf <= 1:
        raise ValueError(f"--conf {args.conf:g} is not between 0 and 1")


def _checked(
    images: "Iterator[SourceImage]", request: "PredictionRequest", failures: list[str]
) -> "Iterator[SourceImage]":
    """Yield the images that all prompts are inside of, with a progress bar if there may be several.

    Raises:
        ValueError: a prompt is outside the only image.
        CommandFailedError: there is no image.
    """
    first = next(images, None)
    if first is None:
        raise CommandFailedError(f"no image could be read: {'; '.join(failures[:SHOWN_FAILURES])}")
    is_alone = first.total == 1
    everyone: Iterable[SourceImage] = itertools.chain([first], images)
    for image in tqdm(everyone, total=first.total, unit="image", disable=True if is_alone else None):
        height, width = image.image.shape[:2]
        try:
            for prompt in request.prompts:
                check_inside(prompt, width, height)
        except ValueError as error:
            if is_alone:
                raise
            failures.append(f"{image.path}: {error}")
            continue
        yield image


def _objects(
    args: argparse.Namespace, model: Any, request: "PredictionRequest", images: "Iterator[SourceImage]"
) -> CommandResult:
    from sam_model.registry import load_text_detector
    from sam_model.scripting.any_model import is_segmenter, predict_image

    text_detector = None
    if request.texts and is_segmenter(model):
        default = "classical" if args.model == "classical" else "yolov8x"
        text_detector = load_text_detector(args.detector or default, args.device)
    has_class_names = bool(request.texts) or not is_segmenter(model)
    files = PredictionFiles(args.out, args.save_txt)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    objects = 0
    is_alone = True
    for image in images:
        results = predict_image(model, image, request, text_detector)
        files.write(image, results, has_class_names)
        is_alone = image.total == 1
        objects += len(results)
        if args.json:
            rows.append(image_json(image, results, has_class_names))
        elif is_alone:
            lines += object_lines(results, has_class_names)
        else:
            lines.append(image_line(image, results, has_class_names))
    lines.append(f"{objects_words(objects)}{f', drawn in {args.out}' if args.out else ''}")
    return CommandResult({"images": rows}, "\n".join(lines))


def _edges(args: argparse.Namespace, model: Any, images: "Iterator[SourceImage]") -> CommandResult:
    import numpy as np

    from sam_model.automatic_edges import edges_automatically
    from sam_model.scripting.any_model import is_segmenter

    if not is_segmenter(model):
        raise ValueError(f"--edges: the detector {model.name} has none; choose a segmenter, such as mobile_sam")
    files = PredictionFiles(args.out)
    rows = []
    for image in images:
        edges = edges_automatically(model, np.ascontiguousarray(image.image[..., ::-1]))
        path = files.write_edges(image, edges)
        rows.append({"image": image.path, "frame": image.frame, "size": list(edges.shape), "edges": str(path)})
    return CommandResult({"images": rows}, "\n".join(f"edges of {row['image']} in {row['edges']}" for row in rows))
