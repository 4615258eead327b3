"""An annotation run: writes label files for a list of images, with progress, an error list, and a lock."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from sam_model.annotation.annotated_image import AddImage, AnnotatedImage
from sam_model.annotation.annotator import Annotator
from sam_model.annotation.atomic_file import write_atomically
from sam_model.annotation.contact_sheet import ContactSheet
from sam_model.annotation.image_list import ListedImage
from sam_model.annotation.parallel_annotation import annotate_images
from sam_model.annotation.record_store import RecordStore
from sam_model.images.reader import read_image

RECORDS = ".annotate"  # folder of the records, within the output folder
ERRORS_FILE = "errors.jsonl"


@dataclass(frozen=True)
class Failure:
    """An image that could not be annotated, and the reason in one line."""

    image: str
    error: str


@dataclass(frozen=True)
class AnnotationReport:
    """The result of a run."""

    out: Path  # the output folder
    images: int  # annotated, in this run or an earlier one
    resumed: int  # of these, annotated in an earlier run
    objects: int
    failures: tuple[Failure, ...]  # also in `errors.jsonl`


def run_annotation(
    images: Sequence[ListedImage],
    annotator: Annotator,
    out: Path,
    files: Sequence[AbstractContextManager[AddImage]],
    *,
    at_once: int = 1,
    resume: bool = True,
    sheet: ContactSheet | None = None,
    show_progress: bool = True,
) -> AnnotationReport:
    """Annotate images and write the results to files. Runs with the same output folder wait for each other.

    Args:
        images: the images to annotate.
        annotator: finds the objects.
        out: folder for the records and, if there are errors, for `errors.jsonl`.
        files: each receives every annotated image, in order.
        at_once: number of images that are annotated at the same time.
        resume: use the records of an earlier run.
        sheet: receives the first images.
        show_progress: show a progress bar if standard error is a terminal.

    Raises:
        OSError: a file cannot be written.
    """
    failures: list[Failure] = []
    resumed = objects = 0
    records = out / RECORDS
    records.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(FileLock(records / "lock"))
        adds = [stack.enter_context(file) for file in files]
        store = RecordStore(records, annotator.fingerprint)
        bar = stack.enter_context(
            tqdm(total=len(images), desc="annotate", unit="image", disable=None if show_progress else True)
        )
        for outcome in annotate_images(images, annotator, store, at_once, resume):
            if outcome.annotated is None:
                failures.append(Failure(outcome.image.name, outcome.error or ""))
            else:
                for add in adds:
                    add(outcome.annotated)
                objects += len(outcome.annotated.objects)
                resumed += outcome.is_from_record
                if sheet is not None and not sheet.is_full:
                    _show(sheet, outcome.image, outcome.annotated)
            bar.set_postfix(objects=objects, failed=len(failures), refresh=False)
            bar.update()
        _write_errors(out / ERRORS_FILE, failures)
    return AnnotationReport(out, len(images) - len(failures), resumed, objects, tuple(failures))


def _show(sheet: ContactSheet, image: ListedImage, annotated: AnnotatedImage) -> None:
    pixels = read_image(image.path)
    if pixels.shape[:2] == annotated.size:
        sheet.add(pixels, annotated)


def _write_errors(path: Path, failures: Sequence[Failure]) -> None:
    if failures:
        lines = [json.dumps({"image": failure.image, "error": failure.error}) + "\n" for failure in failures]
        write_atomically(path, "".join(lines).encode())
    else:
        path.unlink(missing_ok=True)
