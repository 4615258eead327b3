"""Every kind of region in the real editor: a click is answered, accepted and submitted, and stored as that kind."""

import base64
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.label_studio.backend_registration import connect
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.masks.boxes import box_from_mask
from sam_model.registry import load_segmenter
from sam_model.types import Mask, Point, Prompt
from sam_testing.annotations import annotations_of_task

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

FLOWER = Path("examples/photos/flower.jpg")  # 640 x 427
EXAMPLES = Path("examples/labeling_configs")
PALETTE = EXAMPLES / "labels_palette.xml"
CLICK = (40, 35)  # percent
HAS_OWN_LABELS = """<View>
  <Image name="image" value="$image"/>
  <{tag}Labels name="out" toName="image" smart="false"><Label value="Plant"/></{tag}Labels>
  <KeyPointLabels name="point" toName="image" smart="true" smartOnly="true"><Label value="Plant"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true" smartOnly="true"><Label value="Plant"/></RectangleLabels>
</View>"""
NEEDED_IOU = {"Brush": 0.99, "Bitmask": 0.99, "Polygon": 0.97, "Rectangle": 0.97, "Ellipse": 0.8, "Vector": 0.97}
OFTEN = {("Polygon", True), ("Bitmask", True)}  # in `make test`; a brush region is in test_click_to_mask.py


def drawn(result: Mapping[str, Any]) -> Mask:
    """The pixels of a stored region; worked out here again, not by the code that is tested."""
    width, height, value = result["original_width"], result["original_height"], result["value"]
    canvas = np.zeros((height, width), np.uint8)
    if "rle" in value:
        return decode_mask(value["rle"], height, width)
    if "imageDataURL" in value:
        png = base64.b64decode(value["imageDataURL"].partition(",")[2])
        return np.asarray(Image.open(BytesIO(png)).convert("RGBA"))[..., 3] > 0
    x, y = value.get("x", 0) * width / 100, value.get("y", 0) * height / 100
    if "radiusX" in value:
        radii = value["radiusX"] * width / 100, value["radiusY"] * height / 100
        outline = cv2.ellipse2Poly((0, 0), (1000, 1000), 0, 0, 360, 2) / 1000 * radii
    elif "width" in value:
        far = value["width"] * width / 100, value["height"] * height / 100
        outline = np.array([(0, 0), (far[0], 0), far, (0, far[1])])
    else:
        percent = value.get("points") or [(vertex["x"], vertex["y"]) for vertex in value["vertices"]]
        outline = np.array(percent) * (width / 100, height / 100)
    angle = np.radians(value.get("rotation", 0))
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    cv2.fillPoly(canvas, [np.round(outline @ turn + (x, y) - 0.5).astype(np.int32)], 1)
    return canvas.astype(bool)


def box_of(mask: Mask) -> Mask:
    box = box_from_mask(mask)
    assert box is not None
    left, top, right, bottom = map(int, box)
    whole = np.zeros_like(mask)
    whole[top:bottom, left:right] = True
    return whole


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(
    ("tag", "has_palette"),
    [
        pytest.param(tag, has_palette, marks=() if (tag, has_palette) in OFTEN else pytest.mark.slow)
        for tag in NEEDED_IOU
        for has_palette in (True, False)
    ],
)
def test_a_click_is_answered_accepted_and_stored_in_the_configs_shape(
    services: Any, editor: Any, tag: str, has_palette: bool
) -> None:
    example = PALETTE if tag == "Brush" else EXAMPLES / f"{tag.lower()}.xml"
    config = example.read_text() if has_palette else HAS_OWN_LABELS.format(tag=tag)
    project, task = services.new_task(tag, config, FLOWER)

    editor.open_task(project, task)
    editor.switch_on("auto-annotation")
    editor.choose_tool("key-point-tool")
    editor.choose_label("Plant", 0 if has_palette else 1)
    (prompt, *_) = editor.click(*CLICK)
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    [annotation] = annotations_of_task(services.api, task)
    by_type = {result["type"]: result for result in annotation.result}
    plain = tag.lower()
    assert set(by_type) == ({plain, "labels"} if has_palette else {f"{plain}labels"})
    labelled = by_type.get("labels") or by_type[f"{plain}labels"]
    assert ["Plant"] in labelled["value"].values()
    photo = np.asarray(Image.open(FLOWER).convert("RGB"))
    segmenter = load_segmenter("classical")
    x, y = prompt["value"]["x"] * photo.shape[1] / 100, prompt["value"]["y"] * photo.shape[0] / 100
    mask = segmenter.segment(segmenter.embed(photo), [Prompt((Point(x, y),))])[0].mask
    expected = box_of(mask) if tag == "Rectangle" else mask
    assert iou(drawn(next(iter(by_type.values()))), expected) >= NEEDED_IOU[tag]


@pytest.mark.slow
def test_a_negative_point_inside_an_accepted_region_replaces_it(services: Any, editor: Any) -> None:
    project, task = services.new_task("Refine", PALETTE.read_text(), FLOWER)
    connect(services.api, project, services.backend_url, "label-studio-sam", {"refine_regions": True})

    editor.open_task(project, task)
    editor.take_point("Plant")
    editor.click(40, 35)
    expect(editor.suggestions).to_have_text("1 suggestions")
    with editor.page.expect_response(
        lambda response: "/drafts" in response.url and response.request.method in ("POST", "PATCH")
    ) as saved:
        editor.accept()
    first = [one for one in saved.value.json()["result"] if one["type"] == "brush"]
    editor.choose_label("Plant")
    editor.page.keyboard.down("Control")
    editor.click(60, 60, is_positive=False)
    editor.page.keyboard.up("Control")
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    [annotation] = annotations_of_task(services.api, task)
    brushes = [one for one in annotation.result if one["type"] == "brush"]
    assert [one["id"] for one in brushes] == [one["id"] for one in first]
    before, after = (decode_mask(one["value"]["rle"], 427, 640) for one in (first[0], brushes[0]))
    assert before[256, 384]
    assert not after[256, 384]
