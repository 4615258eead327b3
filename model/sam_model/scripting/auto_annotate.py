"""`auto_annotate`, as in Ultralytics' SAM documentation."""

from collections.abc import Sequence
from pathlib import Path

from sam_model.annotation.annotation_run import AnnotationReport, run_annotation
from sam_model.annotation.annotator import Annotator, DetectionSettings
from sam_model.annotation.image_list import PathLike, list_images
from sam_model.annotation.yolo_labels import check_label_names, yolo_labels
from sam_model.registry import load_detector, load_segmenter
from sam_model.runtime.torch_runtime import Device
from sam_model.yolo.detector import IMAGE_SIZE


def auto_annotate(
    data: PathLike | Sequence[PathLike],
    det_model: str = "yolov8x.pt",
    sam_model: str | None = "sam_b.pt",
    device: Device = "",
    output_dir: PathLike | None = None,
    *,
    imgsz: int = IMAGE_SIZE,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 300,
    classes: Sequence[str | int] | None = None,
    batch: int = 1,
    resume: bool = True,
    verbose: bool = True,
) -> AnnotationReport:
    """Write YOLO segmentation labels for many images: a detector finds the objects, SAM segments them.

    Images with labels from an earlier call are skipped. An image that cannot be annotated is listed in the report and
    in `errors.jsonl` beside the labels; the others are still annotated.

    Args:
        data: a folder, a glob pattern, an image file, or a list of image files.
        det_model: detector, by name or file; `classical` needs no weights.
        sam_model: segmenter, by name or file; `classical` needs no download; None uses the detector's own masks.
        device: `cpu`, `cuda`, `cuda:1`, 0 or `mps`; the best one of this machine if empty.
        output_dir: folder of the labels; by default `NAME_auto_annotate_labels` beside the image folder NAME.
        imgsz: length of the longer side of the detector's input in pixels, a multiple of 32.
        conf: 0..1, minimum score of a detection.
        iou: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
        max_det: maximum number of objects per image.
        classes: names or ids of the detector's classes; None for all. The labels always have the detector's ids.
        batch: number of images that are annotated at the same time.
        resume: skip images that were annotated before.
        verbose: show a progress bar if standard error is a terminal.

    Raises:
        ValueError: there is no image, a model or class is unknown, or a number is out of range.
        WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        OSError: the labels cannot be written.
    """
    out = None if output_dir is None else Path(output_dir).expanduser().absolute()
    listed = list_images(data, leave_out=out)
    check_label_names([image.name for image in listed.images])
    if out is None:
        out = listed.root.with_name(f"{listed.root.name}_auto_annotate_labels")
    size = None if imgsz == IMAGE_SIZE else imgsz  # other detectors than YOLO's have a size of their own
    detector = load_detector(str(det_model), device, image_size=size)
    segmenter = None if sam_model is None else load_segmenter(str(sam_model), device)
    names = None if classes is None else tuple(_class_name(one, detector.class_names) for one in classes)
    annotator = Annotator(detector, segmenter, DetectionSettings(conf, iou, max_det, names))
    labels = yolo_labels(out, detector.class_names)
    return run_annotation(listed.images, annotator, out, [labels], at_once=batch, resume=resume, show_progress=verbose)


def _class_name(one: str | int, known: Sequence[str]) -> str:
    if isinstance(one, str):
        return one
    if not 0 <= one < len(known):
        raise ValueError(f"unknown class {one}; the detector's classes are 0 to {len(known) - 1}")
    return known[one]
