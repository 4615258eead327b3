"""Segment everything with a dense grid of points, in the image and in four crops of it."""

from sam_model import ASSETS, SAMPredictor

overrides = {"conf": 0.25, "task": "segment", "mode": "predict", "imgsz": 1024, "model": "mobile_sam.pt"}
predictor = SAMPredictor(overrides=overrides)
results = predictor(source=ASSETS / "coffee.jpg", crop_n_layers=1, points_stride=64)

print(len(results[0]), "masks")
