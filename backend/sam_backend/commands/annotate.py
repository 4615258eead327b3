"""`label-studio-sam annotate`: a folder of pictures to YOLO labels, a COCO file and tasks for Label Studio."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from sam_backend.commands.renamed_option import RenamedOption
from sam_model.weights.errors import BrokenWeightsError, WeightsError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sam_model.annotation.annotated_image import AddImage
    from sam_model.annotation.annotation_run import AnnotationReport
    from sam_model.annotation.annotator import Annotator
    from sam_model.annotation.image_list import ImageList
    from sam_model.interfaces import Detector
    from sam_model.weights.download import OnProgress, Progress

DESCRIPTION = """A detector finds the objects in each picture, a segmenter makes their masks, files say so. A run that
was interrupted goes on where it was. A picture that cannot be annotated is named in DIR/errors.jsonl and stops nothing;
the exit code is 1 then. Coordinates are those of the upright picture: EXIF orientation is followed."""
FORMATS = ("yolo", "coco", "label-studio")
SHOWN_FAILURES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("images", nargs="+", metavar="FOLDER|PATTERN|FILE", help="pictures; 'x/**/*.jpg' in quotes")
    parser.add_argument(
        "--detector",
        default="yolov8x",
        metavar="NAME|FILE",
        help="finds the objects; 'classical' (people, faces) needs no weights; those of YOLOv8 and FastSAM are"
        " AGPL-3.0 (default %(default)s)",
    )
    parser.add_argument(
        "--model",
        default="mobile_sam",
        metavar="NAME|FILE|none",
        help="makes the masks; 'classical' needs no weights, 'none' takes the detector's own (default %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps or auto (default %(default)s)")
    parser.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        dest="formats",
        help="what to write, several times; all if not given",
    )
    parser.add_argument("--out", type=Path, default=Path("annotations"), metavar="DIR", help="(default %(default)s)")
    parser.add_argument("--conf", type=float, default=0.25, help="least score of the detector (default %(default)s)")
    parser.add_argument(
        "--iou", type=float, default=0.7, help="overlap above which the surer box stays (default %(default)s)"
    )
    parser.add_argument(
        "--max-detections", type=int, default=300, metavar="N", help="objects per image (default %(default)s)"
    )
    parser.add_argument("--at-most", action=RenamedOption, new_name="--max-detections")
    parser.add_argument("--classes", metavar="A,B", help="only these of the detector's classes")
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="NAME",
        help="look for this, several times: a class, or any words where the detector is a folder with an OWLv2",
    )
    parser.add_argument("--map", metavar="A=B,C=D", help="write the detector's class A as B")
    parser.add_argument(
        "--coco-segmentation", choices=("rle", "polygon"), default="rle", help="(default %(default)s, which is exact)"
    )
    parser.add_argument(
        "--image-url-prefix",
        metavar="URL",
        help="what stands before a picture's name in Label Studio's tasks"
        " (default /data/local-files/?d=NAME/, NAME being the pictures' folder)",
    )
    parser.add_argument(
        "--label-config",
        type=Path,
        metavar="FILE",
        help="where to write the labeling config (default DIR/label-config.xml)",
    )
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE", help="draw the first pictures with their masks")
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="pictures in work at the same time (default %(default)s)"
    )
    parser.add_argument("--no-resume", dest="resume", action="store_false", help="do all anew")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code: 0, 1 where pictures failed or weights are missing, 2 for bad input."""
    try:
        report = _annotate(args)
    except (ValueError, OSError, BrokenWeightsError) as error:
        print(f"label-studio-sam: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except WeightsError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1
    for failure in report.failures[:SHOWN_FAILURES]:
        print(f"label-studio-sam: {failure.image}: {failure.error}", file=sys.stderr)
    if report.failures:
        print(f"label-studio-sam: {len(report.failures)} failed; all in {args.out / 'errors.jsonl'}", file=sys.stderr)
    return 1 if report.failures else 0


def _annotate(args: argparse.Namespace) -> "AnnotationReport":
    from sam_model.annotation.annotation_run import run_annotation
    from sam_model.annotation.contact_sheet import ContactSheet
    from sam_model.annotation.image_list import list_images
    from sam_model.annotation.yolo_labels import check_label_names

    if args.batch < 1:
        raise ValueError(f"--batch {args.batch}: needed: 1 or more")
    formats = args.formats or FORMATS
    out = args.out.expanduser().absolute()
    listed = list_images(args.images, leave_out=out)
    if "yolo" in formats:
        check_label_names([image.name for image in listed.images])
    out.mkdir(parents=True, exist_ok=True)  # before a model is loaded, so that a wrong folder is told at once
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
    done = f"{_count(report.images, 'picture')}{earlier}, {_count(report.objects, 'object')}"
    print(f"{done}: {', '.join(formats)} in {args.out}")
    return report


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _annotator(args: argparse.Namespace) -> "Annotator":
    from sam_model.annotation.annotator import Annotator, DetectionSettings
    from sam_model.detectors.fixed_text import FixedTextDetector
    from sam_model.registry import load_detector, load_segmenter, load_text_detector

    classes, texts = [name.strip() for name in (args.classes or "").split(",") if name.strip()], list(args.text)
    detector: Detector
    if texts and Path(args.detector).expanduser().is_dir():  # of transformers: it can be asked for anything
        detector = FixedTextDetector(load_text_detector(args.detector, args.device), texts)
    else:
        classes += texts
        with _download_bar(args.detector) as show:
            detector = load_detector(args.detector, args.device, on_progress=show)
    choice = DetectionSettings(args.conf, args.iou, args.max_detections, tuple(classes) or None, _names(args.map or ""))
    if args.model == "none":
        return Annotator(detector, None, choice)
    with _download_bar(args.model) as show:
        return Annotator(detector, load_segmenter(args.model, args.device, on_progress=show), choice)


@contextmanager
def _download_bar(name: str) -> "Iterator[OnProgress]":
    """A bar for the download of weights, which appears when there is one."""
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
            raise ValueError(f"--map {text}: needed: A=B, several with commas between")
        names[old] = new
    return names


def _files(
    args: argparse.Namespace, formats: Sequence[str], out: Path, listed: "ImageList", annotator: "Annotator"
) -> "list[AbstractContextManager[AddImage]]":
    """The files that were asked for; small ones that depend on the classes only are written at once."""
    from sam_backend.export.prediction_file import label_studio_file, labeling_config_for, local_files_prefix
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
        write_atomically(args.label_config or out / "label-config.xml", labeling_config_for(classes).encode())
        prefix = args.image_url_prefix or local_files_prefix(listed.root)
        files.append(label_studio_file(out / "label-studio.json", classes, prefix, version))
    return files
