import base64
import io
from itertools import count

import cv2
import numpy as np
import orjson
import pytest
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image

from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.regions import RotatedRectangle
from sam_backend.shapes.bitmask import bitmask_value
from sam_backend.shapes.ellipse import ellipse_value
from sam_backend.shapes.polygon import PolygonStyle, polygon_values
from sam_backend.shapes.rectangle import box_from_rectangle, rectangle_value, rotated_rectangle_value
from sam_backend.shapes.regions import results_from_mask
from sam_backend.shapes.targets import PromptTags, click_target
from sam_backend.shapes.vector import vector_values
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


def test_the_tolerance_of_a_polygon_grows_with_the_image() -> None:
    canvas = cv2.circle(np.zeros((2000, 3000), np.uint8), (900, 900), 800, 1, cv2.FILLED).astype(bool)

    vertices = [len(polygon_values(canvas, PolygonStyle(tolerance))[0]["points"]) for tolerance in (0.3, 1, 4)]

    assert vertices[0] > vertices[1] > vertices[2] >= 8
    (cut,) = polygon_values(canvas[:900, :900], PolygonStyle(parts="largest"))
    assert max(x for x, _ in cut["points"]) == 100  # percent of the image that is given


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


def test_an_ellipse_has_the_center_radii_and_rotation_of_the_mask() -> None:
    canvas = np.zeros((200, 400), np.uint8)
    cv2.ellipse(canvas, (150, 90), (80, 30), 25, 0, 360, 1, cv2.FILLED)  # clockwise, as in Label Studio

    value = ellipse_value(canvas.astype(bool))

    assert value["x"] == pytest.approx(100 * 150.5 / 400, abs=0.1)
    assert value["y"] == pytest.approx(100 * 90.5 / 200, abs=0.1)
    assert value["radiusX"] == pytest.approx(100 * 80.5 / 400, abs=0.2)
    assert value["radiusY"] == pytest.approx(100 * 30.5 / 200, abs=0.3)
    assert value["rotation"] == pytest.approx(25, abs=0.5)


def test_the_ellipse_of_a_square_has_its_area_and_of_an_empty_mask_there_is_none() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[20:60, 30:70] = True

    value = ellipse_value(mask)

    assert (value["x"], value["y"]) == pytest.approx((50, 40))
    assert np.pi * value["radiusX"] * value["radiusY"] == pytest.approx(40 * 40)
    with pytest.raises(ValueError, match="empty"):
        ellipse_value(np.zeros((10, 20), dtype=bool))


def test_a_rotated_rectangle_is_the_tightest_one() -> None:
    canvas = np.zeros((300, 200), np.uint8)
    corners = cv2.boxPoints(((100, 150), (120, 40), -30))  # clockwise, as in Label Studio
    cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], 1)

    value = rotated_rectangle_value(canvas.astype(bool))

    assert value["rotation"] == pytest.approx(330, abs=1)
    assert value["width"] * 2 == pytest.approx(121, abs=2)
    assert value["height"] * 3 == pytest.approx(41, abs=2)
    box = box_from_rectangle(RotatedRectangle(**value), (300, 200))
    assert box == pytest.approx((*corners.min(axis=0), *(corners.max(axis=0) + 1)), abs=2)
    with pytest.raises(ValueError, match="empty"):
        rotated_rectangle_value(np.zeros((10, 20), dtype=bool))


def test_the_rotated_rectangle_of_an_upright_one_is_upright() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 4:6] = True

    assert rotated_rectangle_value(mask) == pytest.approx(rectangle_value(mask))


def test_a_vector_is_the_closed_path_of_the_polygon() -> None:
    first, second = vector_values(two_parts())

    assert first["closed"] is True
    assert [[vertex["x"], vertex["y"]] for vertex in first["vertices"]] == polygon_values(two_parts())[0]["points"]
    assert [vertex["prevPointId"] for vertex in second["vertices"]] == ["3", "0", "1", "2"]


@pytest.mark.parametrize(
    "shape", ["Brush", "Polygon", "Rectangle", "Rotated_rectangle", "Bitmask", "Ellipse", "Vector"]
)
@pytest.mark.parametrize("has_palette", [False, True])
def test_label_studio_takes_every_shape_with_and_without_a_palette(shape: str, has_palette: bool) -> None:
    labels = '<Label value="Cat"/><Label value="Dog"/>'
    tag = shape.removeprefix("Rotated_").capitalize()
    own = f'<{tag}Labels name="mask" toName="image">{labels}</{tag}Labels>'
    palette = f'<Labels name="label" toName="image">{labels}</Labels><{tag} name="mask" toName="image"/>'
    xml = f'<View><Image name="image" value="$image"/>{palette if has_palette else own}</View>'
    mask = two_parts()
    target = click_target(LabelingConfig.from_xml(xml), "image", PromptTags(("Dog",)), shape.lower())
    results = results_from_mask(mask, target, (f"region-{number}" for number in count()), 0.7)
    prediction = {"result": results, "score": 0.7, "model_version": "v"}

    errors = LabelInterface(xml).validate_prediction(
        orjson.loads(orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY)), return_errors=True
    )

    assert errors == []
    assert len(results) == (2 if shape in ("Polygon", "Vector") else 1) * (2 if has_palette else 1)
