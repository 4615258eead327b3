import math

import pytest

from sam_backend.protocol.regions import RotatedRectangle
from sam_backend.shapes.rectangle import box_from_rectangle

SIZE = (20, 40)  # height, width: unequal, so that a swap shows


def test_a_rotated_rectangle_becomes_the_upright_box_around_it() -> None:
    quarter_turn = RotatedRectangle(x=50, y=25, width=25, height=20, rotation=90)  # 10 x 4 pixels, from (20, 5)

    assert box_from_rectangle(quarter_turn, SIZE) == pytest.approx((16, 5, 20, 15))


def test_a_rectangle_is_rotated_in_pixels_not_in_percent() -> None:
    eighth_turn = RotatedRectangle(x=50, y=10, width=10, height=20, rotation=45)  # 4 x 4 pixels, from (20, 2)
    half_diagonal = 4 / math.sqrt(2)

    box = box_from_rectangle(eighth_turn, SIZE)

    assert box == pytest.approx((20 - half_diagonal, 2, 20 + half_diagonal, 2 + 4 * 2**0.5))
