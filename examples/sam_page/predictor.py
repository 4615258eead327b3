"""Compute an image's embedding once, and segment it with several prompts."""

import cv2

from sam_model import ASSETS, SAMPredictor

IMAGE = ASSETS / "coffee.jpg"

overrides = {"conf": 0.25, "task": "segment", "mode": "predict", "imgsz": 1024, "model": "mobile_sam.pt"}
predictor = SAMPredictor(overrides=overrides)

predictor.set_image(IMAGE)  # a file
predictor.set_image(cv2.imread(str(IMAGE)))  # or an array
results = predictor(bboxes=[170, 15, 410, 310])
results = predictor(points=[366, 295], labels=[1])
results = predictor(points=[[366, 295], [300, 35]], labels=[[1, 1]])
results = predictor(points=[[[366, 295], [440, 270]]], labels=[[1, 0]])
predictor.reset_image()

print(results[0].masks.xy)
