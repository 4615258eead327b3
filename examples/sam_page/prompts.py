"""Segment objects by boxes and points. The weights are downloaded at the first call."""

from sam_model import ASSETS, SAM

IMAGE = ASSETS / "coffee.jpg"  # 600 x 400 pixels

model = SAM("sam_b.pt")
model.info()

# a box: the cup
results = model(IMAGE, bboxes=[170, 15, 410, 310])

# one point: the spoon
results = model(IMAGE, points=[366, 295], labels=[1])

# two points, two objects: the spoon and the cup
results = model(IMAGE, points=[[366, 295], [300, 35]], labels=[1, 1])

# two points on one object
results = model(IMAGE, points=[[[366, 295], [400, 110]]], labels=[[1, 1]])

# a positive and a negative point: the spoon without the saucer
results = model(IMAGE, points=[[[366, 295], [440, 270]]], labels=[[1, 0]])

print(results[0].masks.data.shape, results[0].boxes.xyxy.tolist())
results[0].save("spoon.png")
