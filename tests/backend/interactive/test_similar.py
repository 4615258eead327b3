from typing import Any

import cv2
import numpy as np
import pytest

from sam_backend.interactive.similar import similar_objects
from sam_backend.settings import Settings
from sam_backend.shapes.labeled_objects import objects_from_results
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.types import Mask
from sam_testing.colour_sam import ColourSam
from sam_testing.drawn_classes import BLUE, RED, STAR, drawn_classes
from sam_testing.label_studio import BRUSH_CONFIG, predict_request, rectangle, setup_request
from sam_testing.service import SamService


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def test_the_other_objects_of_the_same_kind_are_found_and_not_the_prompted_one_again() -> None:
    segmenter = ClassicalSegmenter()
    for seed in (1, 3, 4):
        image, objects = drawn_classes(seed)
        first, *others = [one.mask for one in objects if one.kind == STAR]

        found = [one.mask for one in similar_objects(segmenter, lambda: image, segmenter.embed(image), [first])]  # noqa: B023

        assert len(found) == len(others) > 0
        assert all(max(iou(mask, other) for other in others) > 0.8 for mask in found)


CONFIGS = {
    "brushlabels": BRUSH_CONFIG,
    "polygonlabels": BRUSH_CONFIG.replace("<BrushLabels", "<PolygonLabels").replace("</BrushLabels", "</PolygonLabels"),
}


def discs_image() -> tuple[bytes, list[Mask]]:
    """Return a PNG file (160 x 256) with three red and two blue discs, and the masks of the red ones.

    No two have exactly the same colour: the area of a colour is one object for `ColourSam`.
    """
    image = np.full((160, 256, 3), (235, 235, 225), np.uint8)
    red = []
    places = ((40, 40, RED), (128, 42, RED), (212, 118, RED), (44, 118, BLUE), (214, 40, BLUE))
    for number, (x, y, colour) in enumerate(places):
        disc = np.zeros(image.shape[:2], np.uint8)
        cv2.circle(disc, (x, y), 34, 1, -1)
        image[disc == 1] = np.array(colour) + number
        red += [disc.view(np.bool_)] if colour == RED else []
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes(), red


@pytest.mark.parametrize(("segmenter", "kind"), [(ClassicalSegmenter, "brushlabels"), (ColourSam, "polygonlabels")])
def test_a_rectangle_also_gives_the_objects_like_its_own_with_its_label_in_the_configs_shape(
    segmenter: Any, kind: str
) -> None:
    service = SamService(Settings(model="classical"), segmenter=segmenter())
    file, (first, *others) = discs_image()
    service.fake_fetcher.images["/data/upload/1/image.png"] = file
    size = {"original_width": 256, "original_height": 160}
    prompt = rectangle(100 * 5 / 256, 100 * 5 / 160, 100 * 70 / 256, 100 * 70 / 160, **size)
    request = predict_request([prompt], config=CONFIGS[kind])

    alone = service.predict(request)["result"]
    service.client.post("/setup", json={**setup_request(CONFIGS[kind]), "extra_params": {"similar": True}})
    answer = service.predict(request)["result"]

    assert len(alone) == 1
    assert [(one["type"], one["value"][kind]) for one in answer] == [(kind, ["Cat"])] * 3
    assert len({one["id"] for one in answer}) == 3
    prompted, *similar = [one.mask.mask for one in objects_from_results(answer)[0]]
    assert iou(prompted, first) > 0.8
    assert all(max(iou(mask, other) for mask in similar) > 0.8 for other in others)
