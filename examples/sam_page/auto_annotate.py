"""Make a segmentation dataset: a detector finds the objects of the images, and SAM segments them."""

from sam_model import ASSETS, auto_annotate

auto_annotate(data=ASSETS, det_model="yolov8x.pt", sam_model="sam_b.pt", device="", output_dir="labels")

auto_annotate(
    data=ASSETS,
    det_model="yolov8x.pt",
    sam_model="mobile_sam.pt",
    output_dir="labels_of_people",
    imgsz=640,
    conf=0.25,
    iou=0.45,
    max_det=300,
    classes=[0],
)
