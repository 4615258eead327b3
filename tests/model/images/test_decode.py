import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from sam_model.images.decode import decode_image, decode_reduced
from sam_model.images.errors import BrokenImageError, ImageTooLargeError
from sam_testing.image_files import (
    ADOBE_RGB,
    DISPLAY_P3,
    IMAGES_A_BROWSER_SHOWS,
    SRGB,
    colours,
    exif,
    gamma_chunk,
    grey_profile,
    jpeg_with_exif,
    matrix_profile,
    png,
    png_chunk,
    saved,
)

A, B, C, D, E, F = 10, 60, 110, 160, 210, 250
# Two rows of three: what each orientation's file, holding ABC / DEF, looks like the right way up.
TURNED = {
    1: [[A, B, C], [D, E, F]],
    2: [[C, B, A], [F, E, D]],
    3: [[F, E, D], [C, B, A]],
    4: [[D, E, F], [A, B, C]],
    5: [[A, D], [B, E], [C, F]],
    6: [[D, A], [E, B], [F, C]],
    7: [[F, C], [E, B], [D, A]],
    8: [[C, F], [B, E], [A, D]],
}
BLOCK = 16  # a letter's side in pixels: JPEG works in blocks of 16


def letters(channels: int = 3) -> NDArray[np.uint8]:
    grey = np.kron(np.array(TURNED[1], np.uint8), np.ones((BLOCK, BLOCK), np.uint8))
    return grey if channels == 1 else np.stack([grey] * 3, axis=2)


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind", ["jpeg", "grey jpeg", "cmyk jpeg", "png", "palette png", "tiff", "deep tiff", "tiled tiff"]
)
def test_all_eight_orientations_are_turned_upright(orientation: int, kind: str) -> None:
    tag = [(274, "H", 1, orientation, True)]
    grey = letters(1)
    data = {
        "jpeg": lambda: jpeg_with_exif(saved(letters(), "JPEG", quality=100), exif(orientation)),
        "grey jpeg": lambda: jpeg_with_exif(saved(grey, "JPEG", quality=100), exif(orientation, "<")),
        "cmyk jpeg": lambda: jpeg_with_exif(
            saved(Image.fromarray(letters()).convert("CMYK"), "JPEG", quality=100), exif(orientation)
        ),
        "png": lambda: png(letters(), 8, 2, png_chunk(b"eXIf", exif(orientation))),
        "palette png": lambda: png(
            grey, 8, 3, png_chunk(b"eXIf", exif(orientation)) + png_chunk(b"PLTE", bytes(range(256)) * 3)
        ),
        "tiff": lambda: tiff(letters(), photometric="rgb", extratags=tag),
        "deep tiff": lambda: tiff(grey.astype(np.uint16), extratags=tag),
        "tiled tiff": lambda: tiff(letters(), photometric="rgb", tile=(16, 16), extratags=tag),
    }[kind]()

    picture = decode_image(data)

    expected = np.array(TURNED[orientation])
    if kind == "deep tiff":
        expected = np.rint((expected - A) * 255 / (F - A)).astype(int)  # stretched
    if kind == "palette png":
        palette = np.frombuffer(bytes(range(256)) * 3, np.uint8).reshape(256, 3)
        np.testing.assert_array_equal(picture[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK], palette[expected])
    else:
        middles = picture[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].astype(int)
        assert np.abs(middles - expected[..., np.newaxis]).max() <= 2
    assert picture.shape == (BLOCK * expected.shape[0], BLOCK * expected.shape[1], 3)


@pytest.mark.parametrize("name", IMAGES_A_BROWSER_SHOWS)
def test_every_kind_of_picture_is_rgb_of_its_own_memory(name: str) -> None:
    picture = decode_image(IMAGES_A_BROWSER_SHOWS[name][1]())

    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    assert sorted(picture.shape[:2]) == [20, 30]
    assert picture.flags.c_contiguous
    assert picture.flags.writeable
    assert picture.base is None or picture.base.flags.writeable


def test_a_jpeg_comes_out_as_pillow_decodes_it() -> None:
    data = saved(colours(50, 70), "JPEG", quality=92)

    with Image.open(BytesIO(data)) as image:
        np.testing.assert_array_equal(decode_image(data), np.asarray(image))


def test_clear_pixels_are_white_and_half_clear_ones_half_white() -> None:
    pixels = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)

    picture = decode_image(saved(pixels, "PNG"))

    # 128/255 of the colour and 127/255 of white: 200 -> 227.4, 100 -> 177.2, 50 -> 152.1
    assert picture.tolist() == [[[200, 100, 50], [255, 255, 255], [227, 177, 152]]]


def test_of_16_bits_in_a_png_the_upper_8_are_kept() -> None:
    values = np.array([[0, 255, 256, 511, 32767, 32768, 65535]], np.uint16)

    picture = decode_image(png(values, 16, 0))

    assert picture[0, :, 1].tolist() == [0, 0, 1, 1, 127, 128, 255]


def test_cmyk_is_ink_on_white() -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0] = 255  # cyan takes the red away
    inks[:, 32:, 3] = 255  # black

    picture = decode_image(saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0))

    assert picture[8, [8, 24, 40]].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]


def test_the_green_of_a_wider_space_is_a_stronger_green_here() -> None:
    green = np.full((4, 4, 3), (100, 200, 100), np.uint8)

    adobe = decode_image(saved(green, "PNG", icc_profile=matrix_profile(ADOBE_RGB, 2.2)))

    # Adobe RGB (1998), gamma 2.2: red light 0.1275, green 0.5862; in sRGB red 1.3984 r - 0.3984 g < 0, so 0
    assert adobe[0, 0, 0] == 0
    assert abs(int(adobe[0, 0, 1]) - 200) <= 1


def test_a_profile_that_is_srgb_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    np.testing.assert_array_equal(decode_image(saved(colours(), "PNG", icc_profile=profile)), colours())


@pytest.mark.parametrize("profile", [b"", b"x", b"\0" * 200, matrix_profile(DISPLAY_P3, 2.2)[:300]])
def test_a_broken_profile_changes_nothing(profile: bytes) -> None:
    chunk = png_chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))

    np.testing.assert_array_equal(decode_image(png(colours(), 8, 2, chunk)), colours())


def test_light_of_gamma_one_is_brightened() -> None:
    picture = decode_image(png(np.array([[0, 55, 128, 255]], np.uint8), 8, 0, gamma_chunk(1.0)))

    # sRGB: 1.055 (55/255)^(1/2.4) - 0.055 = 0.5018 and 1.055 (128/255)^(1/2.4) - 0.055 = 0.7370
    assert picture[0, :, 0].tolist() == [0, 128, 188, 255]


def test_the_curve_of_a_grey_profile_is_applied() -> None:
    picture = decode_image(saved(np.array([[0, 2, 55, 255]], np.uint8), "PNG", icc_profile=grey_profile(1.0)))

    # 1.055 (2/255)^(1/2.4) - 0.055 = 0.0847
    assert picture[0, :, 0].tolist() == [0, 22, 128, 255]


def test_a_gamma_near_srgbs_is_taken_for_srgbs_curve() -> None:
    np.testing.assert_array_equal(decode_image(png(colours(), 8, 2, gamma_chunk(0.46))), colours())


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_a_deep_tiff_is_stretched_from_its_smallest_to_its_largest_value(dtype: type) -> None:
    values = np.array([[100, 200, 300], [400, 500, 610]]).astype(dtype)

    picture = decode_image(tiff(values))

    # (v - 100) / 510 * 255
    assert picture[..., 0].tolist() == [[0, 50, 100], [150, 200, 255]]
    assert (picture[..., 0] == picture[..., 2]).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_the_channels_of_a_deep_tiff_share_one_stretch_and_keep_their_order(dtype: type) -> None:
    values = np.zeros((2, 3, 3), dtype)
    values[0, 0] = (1020, 512, 4)

    picture = decode_image(tiff(values, photometric="rgb"))

    assert picture[0, 0].tolist() == [255, 128, 1]


@pytest.mark.parametrize("options", [{"bigtiff": True}, {"byteorder": ">"}], ids=str)
def test_a_deep_tiff_may_be_big_or_big_endian(options: dict[str, Any]) -> None:
    assert decode_image(tiff(np.array([[0, 200, 1000]], np.uint16), **options))[0, :, 0].tolist() == [0, 51, 255]


def test_what_is_not_finite_in_a_float_tiff_does_not_spoil_the_rest() -> None:
    values = np.array([[0.0, 1.0, 0.2], [np.nan, np.inf, -np.inf]], np.float32)

    picture = decode_image(tiff(values))

    assert picture[..., 0].tolist() == [[0, 255, 51], [0, 255, 0]]


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan])
def test_a_float_tiff_of_one_value_is_black(value: float) -> None:
    assert not decode_image(tiff(np.full((3, 4), value, np.float32))).any()


def test_a_float_tiff_may_use_the_whole_range_of_its_numbers() -> None:
    largest = np.finfo(np.float64).max

    picture = decode_image(tiff(np.array([[-largest, 0, largest]])))

    assert picture[0, :, 0].tolist() == [0, 128, 255]  # 127.5, rounded to the even


@pytest.mark.parametrize(
    "options",
    [{"compression": "zlib"}, {"compression": "lzw"}, {"planarconfig": "separate"}, {"bigtiff": True}],
    ids=str,
)
def test_tiffs_of_8_bits_keep_their_values(options: dict[str, Any]) -> None:
    if options.get("compression") == "lzw":
        data = saved(colours(), "TIFF", compression="tiff_lzw")
    elif "planarconfig" in options:
        data = tiff(np.moveaxis(colours(), 2, 0), photometric="rgb", **options)
    else:
        data = tiff(colours(), photometric="rgb", **options)

    np.testing.assert_array_equal(decode_image(data), colours())


def test_the_first_page_of_a_tiff_is_the_picture() -> None:
    pages = np.stack([np.full((4, 6), 7, np.uint8), np.full((4, 6), 9, np.uint8)])

    assert (decode_image(tiff(pages, photometric="minisblack")) == 7).all()


def huge(width: int, height: int) -> dict[str, bytes]:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    small = saved(colours(), "JPEG")
    frame = small.index(b"\xff\xc0") + 5
    bmp = bytearray(saved(colours(), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    gif = bytearray(saved(colours(), "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    extended = struct.pack("<I", 10) + struct.pack("<BBBB", 0x10, 0, 0, 0)
    for side in (width, height):
        extended += (side - 1).to_bytes(3, "little")
    lossless = struct.pack("<IBI", 5, 0x2F, (width - 1 & 0x3FFF) | (height - 1 & 0x3FFF) << 14)
    directory = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries = b"".join(struct.pack("<HHII", *entry) for entry in [*directory, (279, 4, 1, 1)])
    deep = entries.replace(struct.pack("<HHII", 258, 3, 1, 8), struct.pack("<HHII", 258, 3, 1, 32))
    return {
        "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b""),
        "jpeg": small[:frame] + struct.pack(">HH", height, width) + small[frame + 4 :],
        "bmp": bytes(bmp),
        "gif": bytes(gif),
        "webp extended": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + extended,
        "webp lossless": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + lossless,
        "tiff": b"II*\0" + struct.pack("<IH", 8, 6) + entries + b"\0\0\0\0",
        "deep tiff": b"II*\0" + struct.pack("<IH", 8, 6) + deep + b"\0\0\0\0",
    }


@pytest.mark.parametrize("kind", list(huge(1, 1)))
def test_a_bomb_is_refused_before_its_pixels_are_asked_for(kind: str) -> None:
    with pytest.raises(ImageTooLargeError, match=r"16000 x 12000 = 192000000 pixels.*100000000"):
        decode_image(huge(16000, 12000)[kind])


def test_the_limit_is_the_callers_and_not_pillows() -> None:
    data = saved(np.zeros((30, 40), np.uint8), "PNG")

    assert decode_image(data, max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(ImageTooLargeError, match=r"40 x 30 = 1200 pixels, more than the limit of 1199"):
        decode_image(data, max_pixels=1199)


def test_the_limit_holds_for_deep_tiffs() -> None:
    with pytest.raises(ImageTooLargeError, match="more than the limit of 1199"):
        decode_image(tiff(np.zeros((30, 40), np.float32)), max_pixels=1199)


def test_a_picture_beyond_pillows_own_limit_is_decoded_when_ours_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    assert decode_image(saved(colours(), "PNG")).shape == (20, 30, 3)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.98])
def test_a_picture_that_is_cut_off_is_refused(fmt: str, share: float) -> None:
    data = saved(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8), fmt)

    with pytest.raises(BrokenImageError):
        decode_image(data[: int(len(data) * share)])


def test_the_end_mark_of_a_thumbnail_does_not_make_a_jpeg_whole() -> None:
    data = saved(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8), "JPEG")
    with_thumbnail = jpeg_with_exif(data, exif(1) + saved(colours(8, 8), "JPEG"))

    with pytest.raises(BrokenImageError):
        decode_image(with_thumbnail[: len(with_thumbnail) - len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"%PDF-1.4", b"\0" * 100, b"RIFF1234WEBP", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenImageError):
        decode_image(data)


@pytest.mark.parametrize("name", IMAGES_A_BROWSER_SHOWS)
def test_flipped_bytes_are_decoded_or_refused_and_nothing_else(name: str) -> None:
    data = IMAGES_A_BROWSER_SHOWS[name][1]()
    random = np.random.default_rng(len(name))

    for _ in range(40):
        broken = bytearray(data)
        for position in random.integers(0, len(data), random.integers(1, 6)):
            broken[position] = random.integers(0, 256)
        try:
            picture = decode_image(bytes(broken), max_pixels=100_000)
        except (BrokenImageError, ImageTooLargeError):
            continue
        assert picture.dtype == np.uint8


def test_warnings_about_a_tiffs_tags_stay_inside() -> None:
    data = tiff(colours(), photometric="rgb", extratags=[(282, "H", 3, (1, 2, 3), True)])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = decode_image(data)

    np.testing.assert_array_equal(picture, colours())


def test_threads_do_not_disturb_each_other() -> None:
    files = [IMAGES_A_BROWSER_SHOWS[name][1]() for name in ("jpeg", "png rgba", "png display p3", "gif")]
    expected = [decode_image(data) for data in files]
    wrong: list[int] = []

    def work(offset: int) -> None:
        for step in range(40):
            at = (step + offset) % len(files)
            if not np.array_equal(decode_image(files[at]), expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_settings_of_pillow_and_opencv_are_left_alone() -> None:
    before = (Image.MAX_IMAGE_PIXELS, cv2.getNumThreads(), list(warnings.filters))

    decode_image(saved(colours(), "JPEG"))

    assert (Image.MAX_IMAGE_PIXELS, cv2.getNumThreads(), list(warnings.filters)) == before


def test_primaries_of_srgb_in_a_profile_with_another_gamma_change_only_brightness() -> None:
    grey = np.full((2, 2, 3), 55, np.uint8)

    picture = decode_image(saved(grey, "PNG", icc_profile=matrix_profile(SRGB, 1.0)))

    assert np.abs(picture.astype(int) - 128).max() <= 1


def least(share: int) -> Callable[[tuple[int, int]], tuple[int, int]]:
    return lambda size: (size[0] // share, size[1] // share)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("share", [2, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_reduced_jpeg_is_the_upright_image_at_a_part_of_its_size(orientation: int, share: int, channels: int) -> None:
    ramp = np.linspace(0, 250, 101 * 151).reshape(101, 151).astype(np.uint8)  # odd sides
    pixels = ramp if channels == 1 else np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2)
    data = jpeg_with_exif(saved(pixels, "JPEG", quality=98, subsampling=0), exif(orientation))
    whole = decode_image(data)

    reduced = decode_reduced(data, least(share))

    assert reduced.image_size == whole.shape[:2]
    assert not reduced.is_whole
    assert reduced.pixels.shape[:2] == tuple(-(-side // share) for side in whole.shape[:2])
    height, width = reduced.pixels.shape[:2]
    wanted = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.pixels[2:-2, 2:-2].astype(int) - wanted[2:-2, 2:-2]).max() < 12


def test_a_jpeg_is_reduced_only_as_far_as_both_sides_allow() -> None:
    data = saved(np.zeros((100, 400, 3), np.uint8), "JPEG")

    assert decode_reduced(data, lambda _: (51, 50)).is_whole
    assert decode_reduced(data, lambda _: (50, 50)).pixels.shape == (50, 200, 3)
    assert decode_reduced(data, lambda _: (13, 50)).pixels.shape == (25, 100, 3)


@pytest.mark.parametrize("name", ["png rgba", "gif", "jpeg cmyk"])
def test_other_files_are_decoded_whole(name: str) -> None:
    data = IMAGES_A_BROWSER_SHOWS[name][1]()

    reduced = decode_reduced(data, lambda _: (1, 1))

    assert reduced.is_whole
    assert np.array_equal(reduced.pixels, decode_image(data))


def test_a_reduced_jpeg_has_the_colours_of_its_profile() -> None:
    data = saved(np.full((64, 64, 3), (200, 40, 90), np.uint8), "JPEG", icc_profile=matrix_profile(ADOBE_RGB, 2.2))

    reduced = decode_reduced(data, least(4))

    assert reduced.pixels.shape == (16, 16, 3)
    assert np.abs(reduced.pixels.astype(int) - decode_image(data)[::4, ::4]).max() <= 1


def test_a_jpeg_that_is_cut_off_fails_as_it_does_whole() -> None:
    data = saved(np.zeros((64, 64, 3), np.uint8), "JPEG")[:200]

    for decode in (decode_image, lambda data: decode_reduced(data, least(4))):
        with pytest.raises(BrokenImageError):
            decode(data)
