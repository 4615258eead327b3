"""Compute an edge map and object proposals."""

import cv2

from sam_model import ASSETS, SAM

model = SAM("mobile_sam.pt")

edges = model.edges(ASSETS / "coffee.jpg")  # (H, W) in 0..1
cv2.imwrite("edges.png", (255 * edges).astype("uint8"))

proposals = model.proposals(ASSETS / "coffee.jpg")  # at most 1000 objects, highest-scoring first
print(len(proposals), proposals.boxes.xyxy[:3])
