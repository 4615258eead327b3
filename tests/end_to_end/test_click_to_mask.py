"""Clicks in the real Label Studio, and the masks that it stores.

Whatever the page sent as prompts is given to the segmenter directly; the stored masks must be the same.
"""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.shapes.brush_rle import decode_mask
from sam_model.registry import load_segmenter
from sam_model.types import Image as RgbImage
from sam_model.types import Mask, Point, Prompt
from sam_testing.annotations import annotations_of_task

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

FLOWER = Path("examples/photos/flower.jpg")  # 640 x 427, a large flower and a part of a second one below it
CONFIGS = Path("examples/labeling_configs")


def prompt_from(prompts: Sequence[Mapping[str, Any]]) -> Prompt:
    """Return the prompts that the page sent, in pixels; computed here independently of the tested code."""
    points: dict[str, Point] = {}
    box = None
    for prompt in prompts:
        width, height, value = prompt["original_width"], prompt["original_height"], prompt["value"]
        x, y = value["x"] / 100 * width, value["y"] / 100 * height
        if prompt["type"].startswith("rectangle"):
            box = (x, y, x + value["width"] / 100 * width, y + value["height"] / 100 * height)
        elif prompt["type"].startswith("keypoint"):
            points[prompt["id"]] = Point(x, y, prompt["is_positive"])
    return Prompt(points=tuple(points.values()), box=box)


def mask_of_segmenter(image: RgbImage, prompt: Prompt) -> Mask:
    segmenter = load_segmenter("classical")
    return segmenter.segment(segmenter.embed(image), [prompt])[0].mask


def rgb(photo: Path) -> RgbImage:
    return np.asarray(Image.open(photo).convert("RGB"))


def intersection_over_union(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def stored_masks(result: Sequence[Mapping[str, Any]]) -> dict[str, Mask]:
    """Return the masks of an annotation by label.

    The label is in the region itself, or in its second result of type `labels`.
    """
    masks = {}
    for region in result:
        value = region["value"]
        label = next((value[key][0] for key in ("labels", "brushlabels") if value.get(key)), None)
        if "rle" in value and label is not None:
            masks[label] = decode_mask(value["rle"], region["original_height"], region["original_width"])
    return masks


def test_clicks_and_a_rectangle_with_a_palette_of_labels_become_masks(services: Any, editor: Any) -> None:
    config = (CONFIGS / "labels_palette.xml").read_text()
    project, task = services.new_task("Click to mask", config, FLOWER)

    opened = editor.open_task(project, task)
    editor.take_point("Plant")
    first = editor.click(40, 35)
    expect(editor.suggestions).to_have_text("1 suggestions")
    save_screenshot_if_asked(editor)
    second = editor.click(60, 95, is_positive=False)  # on the other flower
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.choose_tool("rectangle-tool")
    editor.choose_label("Thing")
    third = editor.drag((43, 87), (75, 99))
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    assert opened["predictions"] == []  # opening a task stores nothing
    assert [prompt["is_positive"] for prompt in second if prompt["type"] == "keypoint"] == [True, False]
    assert first[0] == second[0]
    [annotation] = annotations_of_task(services.api, task)
    assert {region["type"] for region in annotation.result} == {"brush", "labels"}  # no prompts are left
    masks = stored_masks(annotation.result)
    image = rgb(FLOWER)
    assert intersection_over_union(masks["Plant"], mask_of_segmenter(image, prompt_from(second))) >= 0.99
    assert intersection_over_union(masks["Thing"], mask_of_segmenter(image, prompt_from(third))) >= 0.99
    assert masks["Plant"][149, 256]  # where the click was
    assert not masks["Plant"][406, 384]  # where the negative one was


def test_clicks_and_a_rectangle_with_labels_of_their_own_become_masks(services: Any, editor: Any) -> None:
    config = (CONFIGS / "brush_keypoint_rectangle_labels.xml").read_text()
    project, task = services.new_task("labels", config, FLOWER)
    points, boxes = 1, 2  # their places among the rows of labels; the brush has the first

    editor.open_task(project, task)
    editor.switch_on("auto-annotation")
    editor.choose_tool("key-point-tool")
    editor.choose_label("Plant", points)
    editor.click(40, 35)
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.choose_label("Plant", points)  # here the page lets go of the label after each point
    second = editor.click(60, 95, is_positive=False)
    editor.accept()
    editor.choose_tool("rectangle-tool")
    editor.choose_label("Thing", boxes)
    third = editor.drag((43, 87), (75, 99))
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    assert [prompt["is_positive"] for prompt in second] == [True, False]
    [annotation] = annotations_of_task(services.api, task)
    assert [region["type"] for region in annotation.result] == ["brushlabels", "brushlabels"]
    masks = stored_masks(annotation.result)
    image = rgb(FLOWER)
    assert intersection_over_union(masks["Plant"], mask_of_segmenter(image, prompt_from(second))) >= 0.99
    assert intersection_over_union(masks["Thing"], mask_of_segmenter(image, prompt_from(third))) >= 0.99


def test_auto_accept_makes_every_click_an_object_of_its_own(services: Any, editor: Any) -> None:
    config = (CONFIGS / "labels_palette.xml").read_text()
    photo = Path("examples/photos/coins.jpg")
    project, task = services.new_task("auto-accept", config, photo)

    editor.open_task(project, task)
    editor.switch_on("auto-annotation")
    editor.switch_on("auto-accept")
    editor.choose_tool("key-point-tool")
    clicks = []
    for x, y in ((12, 16), (87, 14)):  # the first coin and the last one of the upper row
        editor.choose_label("Thing")
        clicks.append(editor.click(x, y))
        expect(editor.page.locator(".lsf-outliner-item__title", has_text="Thing")).to_have_count(len(clicks))
    editor.submit()

    assert [len({prompt["id"] for prompt in prompts}) for prompts in clicks] == [1, 1]
    [annotation] = annotations_of_task(services.api, task)
    brushes = [region for region in annotation.result if region["type"] == "brush"]
    assert len({region["id"] for region in brushes}) == 2
    for region, prompts in zip(brushes, clicks, strict=True):
        stored = decode_mask(region["value"]["rle"], 303, 384)
        expected = mask_of_segmenter(rgb(photo), prompt_from(prompts))
        assert intersection_over_union(stored, expected) >= 0.99


def test_a_photograph_on_its_side_gets_its_mask_where_the_browser_shows_the_object(
    services: Any, editor: Any, tmp_path: Path
) -> None:
    upright = Image.open(FLOWER)
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the browser turns it by 90 degrees, clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, quality=95, exif=exif)
    config = (CONFIGS / "labels_palette.xml").read_text()
    project, task = services.new_task("turned", config, turned)

    editor.open_task(project, task)
    editor.take_point("Plant")
    prompts = editor.click(40, 35)
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    assert (prompts[0]["original_width"], prompts[0]["original_height"]) == (640, 427)
    [annotation] = annotations_of_task(services.api, task)
    image = np.asarray(Image.open(turned).convert("RGB").transpose(Image.Transpose.ROTATE_270))
    expected = mask_of_segmenter(image, prompt_from(prompts))
    assert intersection_over_union(stored_masks(annotation.result)["Plant"], expected) >= 0.99


def save_screenshot_if_asked(editor: Any) -> None:
    """Save a screenshot (52 shades per channel) to the file that SCREENSHOT names, for `make screenshot`."""
    file = os.environ.get("SCREENSHOT")
    if file:
        editor.page.mouse.move(700, 700)  # away from the image
        editor.page.wait_for_timeout(500)
        page = np.asarray(Image.open(BytesIO(editor.page.screenshot())).convert("RGB"))
        Image.fromarray((np.round(page / 5) * 5).astype(np.uint8)).save(file, optimize=True)
