"""Annotate a folder of images without Label Studio: labels for YOLO, a COCO file, and a sheet to look at.

    python examples/annotate_folder.py [FOLDER [OUT]]

`classical` needs no weights and finds people and faces. With weights, say `load_detector("yolov8x")` and
`load_segmenter("mobile_sam")`. For YOLO labels alone `sam_model.auto_annotate(FOLDER)` is enough, and
`label-studio-sam annotate FOLDER` does the same as this file and writes tasks for Label Studio, too.
"""

import sys
from pathlib import Path

from sam_model import load_segmenter
from sam_model.annotation.annotation_run import run_annotation
from sam_model.annotation.annotator import Annotator, DetectionSettings
from sam_model.annotation.coco import coco_file
from sam_model.annotation.contact_sheet import ContactSheet
from sam_model.annotation.image_list import list_images
from sam_model.annotation.yolo_labels import yolo_labels
from sam_model.registry import load_detector

PHOTOS = Path(__file__).parent / "photos"


def main(folder: Path = PHOTOS, out: Path = Path("annotations")) -> None:
    images = list_images(folder, leave_out=out.absolute())
    annotator = Annotator(
        load_detector("classical"), load_segmenter("classical"), DetectionSettings(score_threshold=0.25)
    )
    sheet = ContactSheet(annotator.class_names)
    files = [yolo_labels(out / "labels", annotator.class_names), coco_file(out / "coco.json", annotator.class_names)]

    report = run_annotation(images.images, annotator, out, files, at_once=2, sheet=sheet)

    sheet.draw(folder.name).save(out / "sheet.png")
    print(f"{report.objects} objects in {report.images} images, {len(report.failures)} failed; look at {out}/sheet.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
