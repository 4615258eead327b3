"""Annotation of several images at the same time, with results in the images' order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sam_model.annotation.annotated_image import AnnotatedImage
from sam_model.annotation.annotator import Annotator
from sam_model.annotation.image_list import ListedImage
from sam_model.annotation.record_store import RecordStore
from sam_model.images.reader import read_image


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result for one image: `annotated`, or the `error` in one line."""

    image: ListedImage
    annotated: AnnotatedImage | None = None
    error: str | None = None
    is_from_record: bool = False


def annotate_images(
    images: Sequence[ListedImage], annotator: Annotator, records: RecordStore, at_once: int = 1, resume: bool = True
) -> Iterator[Outcome]:
    """Annotate images and yield the results in their order. A failed image yields its error; the others continue.

    Args:
        images: the images to annotate.
        annotator: finds the objects.
        records: stored results; existing ones are used instead of annotating the image.
        at_once: number of images that are annotated at the same time, each in a thread.
        resume: False ignores existing records.

    Raises:
        OSError: a record cannot be written.
    """

    def work(image: ListedImage) -> Outcome:
        known = records.find(image) if resume else None
        if known is not None:
            return Outcome(image, known, is_from_record=True)
        try:
            annotated = _annotated(image, annotator)
        except Exception as error:  # noqa: BLE001 - an error of one image must not end the run
            return Outcome(image, error=_one_line(error))
        records.save(image, annotated)
        return Outcome(image, annotated)

    yield from _in_order(work, images, at_once)


def _annotated(image: ListedImage, annotator: Annotator) -> AnnotatedImage:
    pixels = read_image(image.path)
    return AnnotatedImage(image.name, (pixels.shape[0], pixels.shape[1]), annotator.annotate(pixels))


def _in_order(work: Callable[[ListedImage], Outcome], images: Sequence[ListedImage], at_once: int) -> Iterator[Outcome]:
    waiting: deque[Future[Outcome]] = deque()
    threads = ThreadPoolExecutor(at_once, thread_name_prefix="annotate")
    try:
        for image in images:
            waiting.append(threads.submit(work, image))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")
