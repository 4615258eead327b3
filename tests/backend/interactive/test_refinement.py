from typing import Any

import numpy as np
import pytest

from sam_backend.settings import Settings
from sam_backend.shapes.brush_rle import decode_mask, encode_mask
from sam_model.types import Mask
from sam_testing.label_studio import key_point, predict_request, rectangle
from sam_testing.service import SamService

HEIGHT, WIDTH = 20, 40


def box(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def brush(mask: Mask, region_id: str, label: str = "Cat") -> dict[str, Any]:
    return {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_mask(mask), "brushlabels": [label]},
        "id": region_id,
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "origin": "manual",
    }


def request(prompts: list[dict[str, Any]], *drawn: dict[str, Any], field: str = "drafts") -> dict[str, Any]:
    body = predict_request(prompts)
    body["tasks"][0][field] = [{"id": 1, "result": list(drawn)}]
    return body


@pytest.fixture
def service() -> SamService:
    return SamService(Settings(refine_regions=True))


@pytest.mark.parametrize("field", ["drafts", "annotations"])
def test_a_point_inside_a_region_gets_its_mask_as_prompt_and_keeps_its_id(service: SamService, field: str) -> None:
    large, small = brush(box(0, 0, 40, 20), "large"), brush(box(10, 5, 30, 15), "small")

    (region,) = service.predict(request([key_point(50, 50, is_positive=False)], large, small, field=field))["result"]

    asked = service.segmenter.prompts[-1]
    assert region["id"] == "small"
    assert np.array_equal(asked.mask, box(10, 5, 30, 15))
    assert [point.is_positive for point in asked.points] == [False]


def test_a_region_of_a_large_request_is_refined(service: SamService) -> None:
    padding = brush(box(0, 0, 1, 1), "padding", "Dog")
    padding["value"]["rle"] = [255] * 60_000

    (region,) = service.predict(request([key_point(50, 50)], padding, brush(box(10, 5, 30, 15), "own")))["result"]

    assert region["id"] == "own"


def test_a_point_beside_or_of_another_label_and_a_rectangle_refine_nothing(service: SamService) -> None:
    cat, dog = brush(box(0, 0, 10, 20), "cat"), brush(box(10, 5, 30, 15), "dog", "Dog")

    for prompt in (key_point(90, 50), key_point(50, 50), rectangle(5, 5, 10, 50)):
        (region,) = service.predict(request([prompt], cat, dog))["result"]
        assert region["id"] not in ("cat", "dog")
        assert service.segmenter.prompts[-1].mask is None


def test_without_the_setting_nothing_is_refined() -> None:
    service = SamService()

    (region,) = service.predict(request([key_point(50, 50)], brush(box(10, 5, 30, 15), "own")))["result"]

    assert region["id"] != "own"
    assert service.segmenter.prompts[-1].mask is None


def test_a_segmenter_without_mask_input_gets_points_inside_the_region(service: SamService) -> None:
    service.segmenter.uses_mask_input = False
    mask = box(10, 5, 30, 15)

    (region,) = service.predict(request([key_point(70, 50, is_positive=False)], brush(mask, "own")))["result"]

    *inner, last = service.segmenter.prompts[-1].points
    assert len(inner) == 3
    assert all(point.is_positive and mask[int(point.y), int(point.x)] for point in inner)
    assert not last.is_positive
    assert min(abs(point.x - last.x) for point in inner) > 3  # away from the negative point
    assert decode_mask(region["value"]["rle"], HEIGHT, WIDTH).any()


def test_the_extra_parameters_switch_it_on() -> None:
    service = SamService()
    setup = {"project": "1.1795346939", "schema": "<View/>", "extra_params": {"refine_regions": True}}
    service.client.post("/setup", json=setup)

    (region,) = service.predict(request([key_point(50, 50)], brush(box(10, 5, 30, 15), "own")))["result"]

    assert region["id"] == "own"
