"""`label-studio-sam annotate`: annotate a folder of images as YOLO labels, a COCO file and Label Studio tasks."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from sam_backend.commands.renamed_option import RenamedOption
from sam_backend.commands.result import CommandResult
from sam_backend.protocol.labeling_config import SHAPES
from sam_backend.segmenter.weight_store import weight_store
from sam_backend.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sam_model.annotation.annotated_image import AddImage
    from sam_model.annotation.annotation_run import AnnotationReport
    from sam_model.annotation.annotator import Annotator
    from sam_model.annotation.image_list import ImageList
    from sam_model.interfaces import Detector
    from sam_model.weights.download import OnProgress, Progress

DESCRIPTION = """Find the objects of each image with a detector, make their masks with a segmenter, and write annotation
files. The same command continues an interrupted run. An image that cannot be annotated is listed in DIR/errors.jsonl;
the others are annotated, and the exit code is 1. Coordinates refer to the upright image (EXIF orientation applied)."""
FORMATS = ("yolo", "coco", "label-studio")
SHOWN_FAILURES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("images", nargs="+", metavar="FOLDER|PATTERN|FILE", help="images; quote patterns: 'x/**/*.jpg'")
    parser.add_argument(
        "--detector",
        default="yolov8x",
        metavar="NAME|FILE",
        help="detector of the objects; 'classical' (people, faces) needs no download; the weights of YOLOv8 and FastSAM"
        " are AGPL-3.0 (default %(default)s)",
    )
    parser.add_argument(
        "--model",
        default="mobile_sam",
        metavar="NAME|FILE|none",
        help="segmenter; 'classical' needs no download, 'none' uses the detector's masks (default %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, 0, mps or auto, the best one (default %(default)s)"
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        dest="formats",
        help="file format to write; may be repeated (default: all)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("annotations"), metavar="DIR", help="output folder (default %(default)s)"
    )
    parser.add_argument("--conf", type=float, default=0.25, help="minimum score of a detection (default %(default)s)")
    parser.add_argument(
        "--iou", type=float, default=0.7, help="IoU above which the lower-scoring box is removed (default %(default)s)"
    )
    parser.add_argument(
        "--max-detections",
        type=int,
        default=300,
        metavar="N",
        help="maximum number of objects per image (default %(default)s)",
    )
    parser.add_argument("--at-most", action=RenamedOption, new_name="--max-detections")
    parser.add_argument("--classes", metavar="A,B", help="keep only these classes of the detector")
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="NAME",
        help="object to look for, may be repeated: a class, or any text if the detector is a folder with an OWLv2",
    )
    parser.add_argument("--map", metavar="A=B,C=D", help="rename the detector's class A to B")
    parser.add_argument(
        "--coco-segmentation",
        choices=("rle", "polygon"),
        default="rle",
        help="mask format of the COCO file; rle is exact (default %(default)s)",
    )
    parser.add_argument(
        "--image-url-prefix",
        metavar="URL",
        help="prefix of the image URLs in Label Studio's tasks"
        " (default /data/local-files/?d=NAME/, where NAME is the folder of the images)",
    )
    parser.add_argument(
        "--shape",
        choices=SHAPES,
        default="brush",
        help="shape of the regions in the file for Label Studio (default %(default)s)",
    )
    parser.add_argument(
        "--label-config",
        type=Path,
        metavar="FILE",
        help="file to write the labeling config to (default DIR/label-config.xml)",
    )
    parser.add_argument(
        "--contact-sheet", type=Path, metavar="FILE", help="image file to write: the first images with their masks"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="number of images computed at the same time (default %(default)s)",
    )
    parser.add_argument("--no-resume", dest="resume", action="store_false", help="annotate all images again")


def run(args: argparse.Namespace) -> CommandResult:
    """Annotate the images; the exit code is 1 if images failed.

    Raises:
        ValueError: an argument cannot be used.
        OSError: a folder or a file cannot be read or written.
        WeightsError: weights are missing, or a file is not a checkpoint.
    """
    report, summary = _annotate(args)
    warnings = [f"{failure.image}: {failure.error}" for failure in report.failures[:SHOWN_FAILURES]]
    if report.failures:
        failed = _count(len(report.failures), "image")
        warnings.append(f"{failed} could not be annotated; {args.out / 'errors.jsonl'} lists all of them")
    return CommandResult(text=summary, warnings=tuple(warnings), exit_code=1 if report.failures else 0)


def _annotate(args: argparse.Namespace) -> "tuple[AnnotationReport, str]":
    """Return the report and its summary."""
    from sam_model.annotation.annotation_run import run_annotation
    from sam_model.annotation.contact_sheet import ContactSheet
    from sam_model.annotation.image_list import list_images
    from sam_model.annotation.yolo_labels import check_label_names

    if args.batch < 1:
        raise ValueError(f"--batch {args.batch} is less than 1")
    formats = args.formats or FORMATS
    out = args.out.expanduser().absolute()
    listed = list_images(args.images, leave_out=out)
    if "yolo" in formats:
        check_label_names([image.name for image in listed.images])
    out.mkdir(parents=True, exist_ok=True)  # before the models are loaded, so that an error is reported at once
    annotator = _annotator(args)
    sheet = ContactSheet(annotator.class_names) if args.contact_sheet else None
    report = run_annotation(
        listed.images,
        annotator,
        out,
        _files(args, formats, out, listed, annotator),
        at_once=args.batch,
        resume=args.resume,
        sheet=sheet,
    )
    if sheet is not None:
        args.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.draw(f"{listed.root.name} · {annotator.model_version}").save(args.contact_sheet)
    earlier = f", {report.resumed} of them from an earlier run" if report.resumed else ""
    done = f"{_count(report.images, 'image')}{earlier}, {_count(report.objects, 'object')}"
    return report, f"{done}: {', '.join(formats)} in {args.out}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _annotator(args: argparse.Namespace) -> "Annotator":
    from sam_model.annotation.annotator import Annotator, DetectionSettings
    from sam_model.detectors.fixed_text import FixedTextDetector
    from sam_model.registry import TEXT_DETECTOR_NAMES, load_detector, load_segmenter, load_text_detector

    classes, texts = [name.strip() for name in (args.classes or "").split(",") if name.strip()], list(args.text)
    settings = Settings.from_env()
    store = weight_store(settings)
    detector: Detector
    is_text_detector = args.detector in TEXT_DETECTOR_NAMES or Path(args.detector).expanduser().is_dir()
    if texts and is_text_detector:  # a model of transformers, which finds any text
        detector = FixedTextDetector(load_text_detector(args.detector, args.device, store=store), texts)
    else:
        classes += texts
        with _download_bar(args.detector) as show:
            detector = load_detector(
                args.detector,
                args.device,
                dtype=settings.dtype,
                runtime=settings.runtime,
                store=store,
                on_progress=show,
            )
    choice = DetectionSettings(args.conf, args.iou, args.max_detections, tuple(classes) or None, _names(args.map or ""))
    if args.model == "none":
        return Annotator(detector, None, choice)
    with _download_bar(args.model) as show:
        segmenter = load_segmenter(
            args.model, args.device, settings.dtype, runtime=settings.runtime, store=store, on_progress=show
        )
    return Annotator(detector, segmenter, choice)


@contextmanager
def _download_bar(name: str) -> "Iterator[OnProgress]":
    """Show a progress bar if weights are downloaded."""
    with ExitStack() as bars:
        shown: list[tqdm[None]] = []

        def show(progress: "Progress") -> None:
            if not shown:
                bar = tqdm(total=progress.total, desc=name, unit="B", unit_scale=True, disable=None)
                shown.append(bars.enter_context(bar))
            shown[0].update(progress.done - shown[0].n)

        yield show


def _names(text: str) -> dict[str, str]:
    names = {}
    for part in filter(None, text.split(",")):
        old, sign, new = (piece.strip() for piece in part.partition("="))
        if not (old and sign and new):
            raise ValueError(f"--map {text} is not A=B, with commas between several")
        names[old] = new
    return names


def _files(
    args: argparse.Namespace, formats: Sequence[str], out: Path, listed: "ImageList", annotator: "Annotator"
) -> "list[AbstractContextManager[AddImage]]":
    """Return the files to write; files that depend on the classes only are written here."""
    from sam_backend.export.prediction_file import label_studio_file, labeling_config_for, local_files_prefix
    from sam_backend.shapes.polygon import polygon_style
    from sam_model.annotation.atomic_file import write_atomically
    from sam_model.annotation.coco import coco_file
    from sam_model.annotation.yolo_labels import dataset_text, yolo_labels

    classes, version = annotator.class_names, annotator.model_version
    files: list[AbstractContextManager[AddImage]] = []
    if "yolo" in formats:
        write_atomically(out / "data.yaml", dataset_text(classes).encode())
        files.append(yolo_labels(out / "labels", classes))
    if "coco" in formats:
        files.append(coco_file(out / "coco.json", classes, args.coco_segmentation, f"label-studio-sam, {version}"))
    if "label-studio" in formats:
        write_atomically(
            args.label_config or out / "label-config.xml", labeling_config_for(classes, args.shape).encode()
        )
        prefix = args.image_url_prefix or local_files_prefix(listed.root)
        style = polygon_style(Settings.from_env())
        files.append(label_studio_file(out / "label-studio.json", classes, prefix, version, args.shape, style))
    return files
