import base64
import io
from itertools import count

import numpy as np
import orjson
import pytest
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image

from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.shapes.bitmask import bitmask_value
from sam_backend.shapes.polygon import polygon_values
from sam_backend.shapes.rectangle import rectangle_value
from sam_backend.shapes.regions import RegionTarget, results_from_mask
from sam_model.types import Mask


def two_parts() -> Mask:
    mask = np.zeros((40, 80), dtype=bool)
    mask[10:30, 20:60] = True  # 800 pixels
    mask[14:18, 30:40] = False  # a hole
    mask[2:6, 4:24] = True  # 80 pixels
    mask[38, 78] = True  # a speck
    return mask


def test_a_polygon_for_each_part_the_largest_first_specks_and_holes_left_out() -> None:
    first, second = polygon_values(two_parts())

    assert first["closed"] is True
    assert sorted(map(tuple, first["points"])) == [(25, 25), (25, 75), (75, 25), (75, 75)]
    assert sorted(map(tuple, second["points"])) == [(5, 5), (5, 15), (30, 5), (30, 15)]


def test_a_line_one_pixel_thin_is_still_a_polygon() -> None:
    mask = np.zeros((40, 80), dtype=bool)
    mask[20, 10:70] = True

    (line,) = polygon_values(mask)

    assert sorted(map(tuple, line["points"])) == [(12.5, 50), (12.5, 52.5), (87.5, 50), (87.5, 52.5)]


def test_a_rectangle_ends_at_the_far_edge_of_the_last_pixel() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 4:6] = True

    assert rectangle_value(mask) == {"x": 20, "y": 20, "width": 10, "height": 30, "rotation": 0}
    with pytest.raises(ValueError, match="empty"):
        rectangle_value(np.zeros((10, 20), dtype=bool))


def test_a_bitmask_is_a_png_opaque_where_the_object_is() -> None:
    mask = two_parts()

    head, _, text = bitmask_value(mask)["imageDataURL"].partition(",")

    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"))
    assert head == "data:image/png;base64"
    assert picture.shape == (40, 80, 4)
    assert np.array_equal(picture[..., 3] == 255, mask)
    assert np.array_equal(picture[..., 3] == 0, ~mask)


@pytest.mark.parametrize("shape", ["Brush", "Polygon", "Rectangle", "Bitmask"])
@pytest.mark.parametrize("has_palette", [False, True])
def test_label_studio_takes_every_shape_with_and_without_a_palette(shape: str, has_palette: bool) -> None:
    labels = '<Label value="Cat"/><Label value="Dog"/>'
    own = f'<{shape}Labels name="mask" toName="image">{labels}</{shape}Labels>'
    palette = f'<Labels name="label" toName="image">{labels}</Labels><{shape} name="mask" toName="image"/>'
    xml = f'<View><Image name="image" value="$image"/>{palette if has_palette else own}</View>'
    tags = LabelingConfig.from_xml(xml).tags_for_shape(shape.lower(), "image")[0]
    mask = two_parts()
    target = RegionTarget(shape.lower(), tags, "image", ("Dog",))
    results = results_from_mask(mask, target, (f"region-{number}" for number in count()), 0.7)
    prediction = {"result": results, "score": 0.7, "model_version": "v"}

    errors = LabelInterface(xml).validate_prediction(
        orjson.loads(orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY)), return_errors=True
    )

    assert errors == []
    assert len(results) == (2 if shape == "Polygon" else 1) * (2 if has_palette else 1)
