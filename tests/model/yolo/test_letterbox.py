import numpy as np
import pytest

from sam_model.yolo.letterbox import letterbox


@pytest.mark.parametrize(
    ("image_size", "long_side", "inner_size", "size", "top", "left"),
    [
        ((1080, 810), 640, (640, 480), (640, 480), 0, 0),
        ((720, 1280), 640, (360, 640), (384, 640), 12, 0),
        ((501, 333), 640, (640, 425), (640, 448), 0, 11),  # 23 columns are spare: 11 before, 12 behind
        ((20, 10), 64, (64, 32), (64, 32), 0, 0),  # small images grow
        ((1, 1000), 640, (1, 640), (32, 640), 15, 0),
    ],
)
def test_an_image_is_scaled_to_fit_and_framed_to_multiples_of_32(
    image_size: tuple[int, int],
    long_side: int,
    inner_size: tuple[int, int],
    size: tuple[int, int],
    top: int,
    left: int,
) -> None:
    frame = letterbox(image_size, long_side)

    assert (frame.inner_size, frame.size, frame.top, frame.left) == (inner_size, size, top, left)


def test_the_frame_is_grey_and_the_image_lies_in_it() -> None:
    image = np.zeros((50, 100, 3), dtype=np.uint8)
    image[:, :, 0] = 200

    framed = letterbox((50, 100), 64).apply(image)

    assert framed.shape == (32, 64, 3)
    assert (framed == (200, 0, 0)).all()  # 32 rows of 32
    framed = letterbox((40, 100), 64).apply(image[:40])
    assert (framed[:3] == 114).all()  # 26 rows of 32
    assert (framed[3:29] == (200, 0, 0)).all()
    assert (framed[29:] == 114).all()


def test_boxes_go_the_way_back_and_are_cut_at_the_image() -> None:
    frame = letterbox((720, 1280), 640)  # half the size, 12 rows above

    boxes = frame.boxes_in_image(np.array([[10, 22, 110, 62], [-5, 0, 700, 384]], dtype=np.float32))

    assert boxes.tolist() == [[20, 20, 220, 100], [0, 0, 1280, 720]]


@pytest.mark.parametrize("long_side", [0, -32, 100, 641])
def test_a_side_that_is_no_multiple_of_32_is_named(long_side: int) -> None:
    with pytest.raises(ValueError, match=f"image_size={long_side}; needed: a positive multiple of 32"):
        letterbox((10, 10), long_side)
