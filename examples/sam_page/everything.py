"""Segment everything in an image."""

from sam_model import ASSETS, SAM

model = SAM("sam_b.pt")
model.info()
results = model(ASSETS / "coffee.jpg")

print(len(results[0]), "masks")
results[0].save("everything.png")
