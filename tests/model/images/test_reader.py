from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from sam_backend.images.decode import decode_image
from sam_model.images.reader import read_image
from sam_testing.image_files import IMAGES_A_BROWSER_SHOWS

RED = (200, 10, 30)


def red_picture() -> np.ndarray:
    picture = np.zeros((20, 30, 3), dtype=np.uint8)
    picture[:, :15] = RED
    return picture


def test_a_file_a_pillow_image_and_an_array_of_opencv_are_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    PIL.Image.fromarray(red_picture()).save(path)

    for source in (path, str(path), PIL.Image.open(path), cv2.imread(str(path))):
        assert np.array_equal(read_image(source), red_picture())


def test_an_array_may_be_rgb_when_it_is_said() -> None:
    assert np.array_equal(read_image(red_picture(), image_format="RGB"), red_picture())
    assert np.array_equal(read_image(red_picture()), red_picture()[..., ::-1])


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees to the right
    PIL.Image.fromarray(red_picture()).save(path, exif=exif)

    image = read_image(path)

    assert image.shape == (30, 20, 3)
    assert tuple(image[0, 0]) == RED
    assert tuple(image[-1, 0]) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_kinds_of_8_bit_files_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tif"
    PIL.Image.new("RGB", (4, 6), (255, 255, 255)).convert(mode).save(path)

    image = read_image(path)

    assert image.shape == (6, 4, 3)
    assert image.dtype == np.uint8
    assert (image == 255).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((20,), np.uint8), r"shape \(20,\)"),
        (np.zeros((20, 30, 2), np.uint8), r"shape \(20, 30, 2\)"),
        (np.zeros((0, 30, 3), np.uint8), r"shape \(0, 30, 3\)"),
        (np.full((2, 3, 3), 0.5), r"float64 with values 0.5..0.5; needed: uint8"),
        (np.full((2, 3, 3), 300, np.int32), r"int32 with values 300..300"),
        (None, "source is a NoneType"),
        (7, "source is a int"),
        ("not-there.jpg", "'not-there.jpg' does not exist"),
    ],
)
def test_what_is_no_picture_is_named(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_image(source)


def test_a_folder_and_a_broken_file_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")

    with pytest.raises(ValueError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match=r"could not read .*broken\.png'"):
        read_image(broken)


@pytest.mark.parametrize("name", IMAGES_A_BROWSER_SHOWS)
def test_a_file_has_the_pixels_that_the_server_sees(tmp_path: Path, name: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(IMAGES_A_BROWSER_SHOWS[name][1]())

    np.testing.assert_array_equal(read_image(path), decode_image(path.read_bytes(), 100_000_000))


@pytest.mark.parametrize("name", ["png display p3", "png rgba", "png 16 bit grey", "jpeg cmyk orientation 6"])
def test_a_pillow_image_has_the_pixels_of_its_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(IMAGES_A_BROWSER_SHOWS[name][1]())

    with PIL.Image.open(path) as image:
        np.testing.assert_array_equal(read_image(image), read_image(path))


def test_a_file_of_16_bits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    PIL.Image.fromarray(np.full((2, 3), 0x9C40, np.uint16)).save(path)

    assert (read_image(path) == 0x9C).all()


def test_an_unknown_order_of_colours_is_named() -> None:
    with pytest.raises(ValueError, match="image_format='GBR'"):
        read_image(red_picture(), image_format="GBR")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["png rgba", "png 16 bit grey", "jpeg grey"])
def test_an_array_of_opencv_has_the_pixels_of_its_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(IMAGES_A_BROWSER_SHOWS[name][1]())

    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    assert array.ndim == 2 or array.shape[2] == 4
    np.testing.assert_array_equal(read_image(array), read_image(path))
    if array.ndim == 2:
        np.testing.assert_array_equal(read_image(array[..., None]), read_image(path))
    else:
        np.testing.assert_array_equal(read_image(array[..., [2, 1, 0, 3]], "RGB"), read_image(path))
