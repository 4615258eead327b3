"""Prompts beside plain clicks and rectangles in the real editor: several suggestions, rectangles with three points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.label_studio.backend_registration import connect
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.registry import load_segmenter
from sam_model.types import Prompt
from sam_testing.annotations import annotations_of_task

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(240)]

FLOWER = Path("examples/photos/flower.jpg")  # 640 x 427
PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()
SIZE = (427, 640)


def test_a_point_gets_three_suggestions_with_scores_one_of_which_is_accepted(services: Any, editor: Any) -> None:
    project, task = services.new_task("Candidates", PALETTE, FLOWER)
    connect(services.api, project, services.backend_url, "label-studio-sam", {"candidates": 3})

    editor.open_task(project, task)
    editor.take_point("Plant")
    editor.click(40, 35)
    expect(editor.suggestions).to_have_text("3 suggestions")
    editor.accept()
    editor.submit()

    [annotation] = annotations_of_task(services.api, task)
    brushes = [one for one in annotation.result if one["type"] == "brush"]
    texts = [one["meta"]["text"][0] for one in brushes]
    assert [text.partition(", score")[0] for text in texts] == [f"candidate {number} of 3" for number in (1, 2, 3)]
    masks = [decode_mask(one["value"]["rle"], *SIZE) for one in brushes]
    assert len({mask.tobytes() for mask in masks}) == 3
    assert all(mask[149, 256] for mask in masks)  # where the click was


def test_a_rectangle_with_three_points_is_answered_with_the_mask_of_its_upright_box(services: Any, editor: Any) -> None:
    project, task = services.new_task("Three points", PALETTE, FLOWER)

    editor.open_task(project, task)
    editor.switch_on("auto-annotation")
    editor.choose_tool("rectangle-3-point-tool")
    editor.choose_label("Plant")
    sent = editor.click_corners((25, 5), (70, 15), (62, 65))
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    [prompt] = [one for one in sent if one["type"] == "rectangle"]
    value = prompt["value"]
    assert value["rotation"] != 0
    height, width = SIZE
    angle = np.radians(value["rotation"])
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corner = np.array([value["x"] / 100 * width, value["y"] / 100 * height])
    sides = value["width"] / 100 * width * along, value["height"] / 100 * height * across
    corners = np.array([corner, corner + sides[0], corner + sides[1], corner + sides[0] + sides[1]])
    low, high = corners.min(axis=0).clip(0), corners.max(axis=0).clip(0, [width, height])
    photo = np.asarray(Image.open(FLOWER).convert("RGB"))
    segmenter = load_segmenter("classical")
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    (expected,) = segmenter.segment(segmenter.embed(photo), [Prompt(box=box)])
    [annotation] = annotations_of_task(services.api, task)
    [brush] = [one for one in annotation.result if one["type"] == "brush"]
    stored = decode_mask(brush["value"]["rle"], *SIZE)
    assert (stored & expected.mask).sum() / (stored | expected.mask).sum() >= 0.99
