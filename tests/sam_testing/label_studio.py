"""Requests as Label Studio 1.23.2 sends them, with the fields that it sends; the images are 40 x 20 pixels."""

from typing import Any

BRUSH_CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="brush" toName="image"><Label value="Cat"/><Label value="Dog"/></BrushLabels>
  <KeyPointLabels name="kp" toName="image" smart="true"><Label value="Cat"/><Label value="Dog"/></KeyPointLabels>
  <RectangleLabels name="rect" toName="image" smart="true"><Label value="Cat"/><Label value="Dog"/></RectangleLabels>
</View>"""

PALETTE_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <Labels name="lab" toName="image"><Label value="Cat"/><Label value="Dog"/></Labels>
  <Brush name="brush" toName="image" smart="false"/>
  <KeyPoint name="kp" toName="image" smart="true" smartOnly="true"/>
  <Rectangle name="rect" toName="image" smart="true" smartOnly="true"/>
</View>"""

PAGES_CONFIG = BRUSH_CONFIG.replace('value="$image" zoom="true"', 'valueList="$images"')

Json = dict[str, Any]


def key_point(
    x: float, y: float, region_id: str = "p1", label: str = "Cat", is_positive: bool = True, **more: Any
) -> Json:
    """Return the region of a click with `<KeyPointLabels>`; coordinates are percent."""
    return {
        "original_width": 40,
        "original_height": 20,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.23, "labels": [label], "keypointlabels": [label]},
        "is_positive": is_positive,
        "id": region_id,
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
        **more,
    }


def rectangle(
    x: float, y: float, width: float, height: float, region_id: str = "r1", rotation: float = 0, **more: Any
) -> Json:
    """Return the region of a rectangle with `<RectangleLabels>`; coordinates are percent."""
    return {
        "original_width": 40,
        "original_height": 20,
        "image_rotation": 0,
        "value": {
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "rotation": rotation,
            "rectanglelabels": ["Cat"],
        },
        "id": region_id,
        "from_name": "rect",
        "to_name": "image",
        "type": "rectanglelabels",
        "origin": "manual",
        **more,
    }


def with_palette(prompt: Json, label: str = "Dog") -> list[Json]:
    """Return the same prompt as a `<Labels>` palette sends it: two results with one id."""
    kind = prompt["type"].removesuffix("labels")
    value = {name: part for name, part in prompt["value"].items() if not name.endswith("labels")}
    if kind == "keypoint":
        value["labels"] = [label]
    return [
        {**prompt, "type": kind, "value": value},
        {**prompt, "type": "labels", "from_name": "lab", "value": {**value, "labels": [label]}},
    ]


def predict_request(
    context: list[Json] | None = None,
    config: str = BRUSH_CONFIG,
    data: Json | None = None,
    task_id: int = 1,
    tasks: list[Json] | None = None,
) -> Json:
    """Return the body of POST /predict: with prompts, or (None) as Label Studio sends it when a task is opened."""
    task = {
        "id": task_id,
        "annotations": [],
        "predictions": [],
        "drafts": [],
        "file_upload": "image.png",
        "data": {"image": "/data/upload/1/image.png"} if data is None else data,
        "meta": {},
        "created_at": "2026-11-22T11:28:59.428635Z",
        "inner_id": 1,
        "total_annotations": 0,
        "project": 1,
    }
    return {
        "tasks": [task] if tasks is None else tasks,
        "project": "1.1795346939",
        "label_config": config,
        "params": {"login": None, "password": None, "context": None if context is None else {"result": context}},
    }


def setup_request(config: str = BRUSH_CONFIG) -> Json:
    """Return the body of POST /setup."""
    return {
        "project": "1.1795346939",
        "schema": config,
        "hostname": "http://localhost:8080",
        "access_token": "not-a-real-token",
        "extra_params": None,
    }
