"""Compare size and speed of SAM, MobileSAM, FastSAM and YOLOv8 on the sample images."""

from sam_model import ASSETS, SAM, YOLO, FastSAM

for file in ["sam_b.pt", "mobile_sam.pt"]:
    model = SAM(file)
    model.info()
    model(ASSETS)

model = FastSAM("FastSAM-s.pt")
model.info()
model(ASSETS)

model = YOLO("yolov8n-seg.pt")
model.info()
model(ASSETS)
