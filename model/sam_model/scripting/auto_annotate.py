"""`auto_annotate` as the SAM documentation uses it."""

from collections.abc import Sequence
from pathlib import Path

from sam_model.annotation.annotation_run import AnnotationReport, run_annotation
from sam_model.annotation.annotator import Annotator, DetectionSettings
from sam_model.annotation.image_list import PathLike, list_images
from sam_model.annotation.yolo_labels import check_label_names, yolo_labels
from sam_model.registry import load_detector, load_segmenter


def auto_annotate(
    data: PathLike | Sequence[PathLike],
    det_model: str = "yolov8x.pt",
    sam_model: str | None = "sam_b.pt",
    device: str = "",
    output_dir: PathLike | None = None,
    *,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[str | int] | None = None,
    batch: int = 1,
    resume: bool = True,
    verbose: bool = True,
) -> AnnotationReport:
    """Write YOLO segmentation labels for many pictures: a detector finds the objects, a SAM makes their masks.

    A picture that is done is not done again; one that cannot be annotated is in the report, and in `errors.jsonl`
    beside the labels, and stops nothing.

    Args:
        data: a folder, a pattern, a picture or a list of them.
        det_model: detector, by name or file; `classical` needs no weights.
        sam_model: segmenter, by name or file; `classical` needs no weights; None takes the detector's own masks.
        device: `cpu`, `cuda`, `cuda:1` or `mps`; the best one there is where empty.
        output_dir: folder for the labels; `NAME_auto_annotate_labels` beside the pictures' folder NAME where None.
        conf: 0..1, the detector's least score.
        iou: 0..1, of two boxes that overlap by more the surer one stays.
        max_det: objects a picture.
        classes: names or numbers of the detector's classes; all where None. Numbers in the labels count those chosen.
        batch: pictures that are in work at the same time.
        resume: without, everything is done anew.
        verbose: with a progress bar, where standard error is a terminal.

    Raises:
        ValueError: no pictures, no such model or class, or a number out of its range.
        WeightsError: the weights are not here and cannot be fetched, or are not what they should be.
        OSError: the labels cannot be written.
    """
    out = None if output_dir is None else Path(output_dir).expanduser().absolute()
    listed = list_images(data, leave_out=out)
    check_label_names([image.name for image in listed.images])
    if out is None:
        out = listed.root.with_name(f"{listed.root.name}_auto_annotate_labels")
    detector = load_detector(str(det_model), device or "auto")
    segmenter = None if sam_model is None else load_segmenter(str(sam_model), device or "auto")
    names = None if classes is None else tuple(_class_name(one, detector.class_names) for one in classes)
    annotator = Annotator(detector, segmenter, DetectionSettings(conf, iou, max_det, names))
    labels = yolo_labels(out, annotator.class_names)
    return run_annotation(listed.images, annotator, out, [labels], at_once=batch, resume=resume, show_progress=verbose)


def _class_name(one: str | int, known: Sequence[str]) -> str:
    if isinstance(one, str):
        return one
    if not 0 <= one < len(known):
        raise ValueError(f"class {one} is unknown to the detector; it knows 0 to {len(known) - 1}")
    return known[one]
