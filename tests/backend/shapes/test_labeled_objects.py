"""Stored results become objects with labels and masks, whatever the kind of region."""

import json
from typing import Any

import numpy as np
import pytest

from sam_backend.protocol.labeling_config import ControlTag
from sam_backend.shapes.labeled_objects import objects_from_results
from sam_backend.shapes.regions import results_from_mask
from sam_backend.shapes.targets import MaskTags, RegionTarget

MASK = np.zeros((30, 50), bool)
MASK[4:20, 10:40] = True  # a rectangle, so that each kind of region has the same mask


def stored(kind: str, *, palette: bool = False) -> list[dict[str, Any]]:
    """Return the results of a region as Label Studio stores them."""
    tag = ControlTag(kind if palette else f"{kind}labels", "tag", ("image",), () if palette else ("Cat", "Dog"))
    labels = ControlTag("labels", "palette", ("image",), ("Cat", "Dog")) if palette else None
    target = RegionTarget(kind, MaskTags(tag, labels), "image", ("Dog",))
    results = results_from_mask(MASK, target, iter(["r"]), 0.75, item_index=2)
    return json.loads(json.dumps(results, default=lambda array: array.tolist()))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["brush", "bitmask", "polygon", "rectangle", "vector"])
@pytest.mark.parametrize("palette", [False, True])
def test_each_kind_of_region_is_one_object(kind: str, palette: bool) -> None:
    (found,), unreadable = objects_from_results(stored(kind, palette=palette))

    assert (found.region_id, found.kind, found.label, found.score, found.page) == ("r", kind, "Dog", 0.75, 2)
    assert np.array_equal(found.mask.mask, MASK)
    assert found.box == (10, 4, 40, 20)
    assert unreadable == 0


def test_the_label_of_a_prompt_and_results_without_area_are_left_out() -> None:
    (brush,) = stored("brush")
    twin = {**brush, "type": "keypointlabels", "value": {**brush["value"], "keypointlabels": ["Cat"]}}
    choice = {"id": "c", "type": "choices", "value": {"choices": ["Cat"]}}
    point = {"id": "p", "type": "keypointlabels", "value": {"x": 1, "y": 2, "width": 1, "keypointlabels": ["Cat"]}}

    (found,), unreadable = objects_from_results([twin, choice, point, brush, "no result"])

    assert (found.label, unreadable) == ("Dog", 0)


def test_what_cannot_be_read_is_counted() -> None:
    (brush,) = stored("brush")
    damaged = {**brush, "id": "d", "value": {"format": "rle", "rle": [1, 2, 3]}}
    of_other_size = {**brush, "id": "s", "original_width": 51}
    without_size = {**brush, "id": "n", "original_width": None}
    wrong = {**brush, "id": "w", "type": "polygonlabels", "value": {"points": "none"}}
    empty = {**brush, "id": "e", "type": "polygonlabels", "value": {"points": []}}

    found, unreadable = objects_from_results([damaged, of_other_size, without_size, wrong, empty, brush])

    assert ([one.region_id for one in found], unreadable) == (["r"], 5)
