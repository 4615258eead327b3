from itertools import count

import cv2
import numpy as np
import orjson
import pytest
from msgspec import Raw

from sam_backend.protocol.labeling_config import SHAPES, LabelingConfig
from sam_backend.protocol.task_regions import DrawnRegion, drawn_regions
from sam_backend.shapes.masks import mask_from_region
from sam_backend.shapes.regions import results_from_mask
from sam_backend.shapes.targets import PromptTags, click_target
from sam_model.types import Mask

LABELS = '<Label value="Cat"/><Label value="Dog"/>'


def flower() -> Mask:
    """An ellipse, which each shape describes well: (200, 300)."""
    return cv2.ellipse(np.zeros((200, 300), np.uint8), (140, 90), (80, 50), 20, 0, 360, 1, cv2.FILLED).astype(bool)


def stored(shape: str, mask: Mask, palette: bool = False) -> Raw:
    tag = shape.removeprefix("rotated_").capitalize()
    own = f'<{tag}Labels name="out" toName="image">{LABELS}</{tag}Labels>'
    plain = f'<Labels name="lab" toName="image">{LABELS}</Labels><{tag} name="out" toName="image"/>'
    config = LabelingConfig.from_xml(f'<View><Image name="image" value="$image"/>{plain if palette else own}</View>')
    target = click_target(config, "image", PromptTags(("Dog",)), shape)
    results = results_from_mask(mask, target, (f"r{number}" for number in count()), 0.5)
    return Raw(orjson.dumps([{"id": 1, "result": results}], option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_region_of_each_shape_gives_its_mask_again(shape: str, palette: bool) -> None:
    (region,) = drawn_regions([Raw(b"null"), stored(shape, flower(), palette)])

    mask = mask_from_region(region)

    assert (region.id, region.labels, region.to_name, region.size) == ("r0", {"Dog"}, "image", (200, 300))
    assert mask is not None
    if "rectangle" in shape:
        assert (mask | ~flower()).mean() > 0.99
    else:
        assert (mask & flower()).sum() / (mask | flower()).sum() >= (1 if shape in ("brush", "bitmask") else 0.97)


def test_points_cancelled_annotations_and_what_is_no_list_are_left_out() -> None:
    point = {"type": "keypointlabels", "id": "p", "value": {"x": 1, "y": 1, "width": 1, "keypointlabels": ["Cat"]}}
    size = {"original_width": 3, "original_height": 2}
    cancelled = [{"result": [{"type": "brush", "id": "b", "value": {}, **size}], "was_cancelled": True}]

    assert list(drawn_regions([Raw(orjson.dumps([{"result": [{**point, **size}]}]))])) == []
    assert list(drawn_regions([Raw(orjson.dumps(cancelled))])) == []
    assert list(drawn_regions([Raw(b'{"result": 7}'), Raw(b"[1]"), Raw(b"")])) == []


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b'{"rle": [1, 2, 3]}',
        b'{"rle": "text"}',
        b'{"imageDataURL": "data:image/png;base64,AAAA"}',
        b'{"imageDataURL": "https://example.org/mask.png"}',
        b'{"points": [[1, 1], [2, 2]]}',
        b'{"points": [[1e300, 1], [2, 2], [3, 1]]}',
        b'{"x": 1}',
    ],
)
def test_a_value_that_cannot_be_read_gives_no_mask(value: bytes) -> None:
    region = DrawnRegion("r", "brush", frozenset(), "image", None, (20, 30), Raw(value))

    assert mask_from_region(region) is None
