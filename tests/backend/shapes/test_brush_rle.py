import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle

from sam_backend.shapes.brush_rle import decode_mask, encode_mask, encode_mask_bytes, loops
from sam_model.runtime.compiled_loops import CompiledLoops

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "brush_rle.json").read_text())
LABEL_STUDIO_SIZES = (3, 4, 8, 16)
# In pixels; four times as many values end at 2^3, 2^4, 2^8, 2^16 and at multiples of 2^16.
SHORT_RUNS = (1, 2, 3, 4, 5, 63, 64, 65)
LONG_RUNS = (16383, 16384, 16385, 32767, 32768, 32769, 49152, 49153)


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with NumPy and with the compiled loops."""
    if request.param == "numpy":
        monkeypatch.setattr(CompiledLoops, "get", lambda _: None)
    elif loops.wait() is None:
        pytest.skip("Numba is not installed (extra [cpu])")


def by_the_converter(mask: np.ndarray) -> list[int]:
    return mask2rle(mask.astype(np.uint8) * 255)


def alpha_by_the_converter(rle: list[int], height: int, width: int) -> np.ndarray:
    return decode_rle(rle).reshape(height, width, 4)[:, :, 3]


def packed(
    count: int, records: list[str], word_size: int = 8, run_sizes: tuple[int, ...] = LABEL_STUDIO_SIZES
) -> list[int]:
    """An rle put together by hand, from records as texts of 0 and 1."""
    bits = f"{count:032b}{word_size - 1:05b}" + "".join(f"{size - 1:04b}" for size in run_sizes) + "".join(records)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def run(length: int, value: int, kind: int, word_size: int = 8, run_sizes: tuple[int, ...] = LABEL_STUDIO_SIZES) -> str:
    return f"1{kind:02b}{length - 1:0{run_sizes[kind]}b}{value:0{word_size}b}"


def literal(values: list[int], kind: int, word_size: int = 8, run_sizes: tuple[int, ...] = LABEL_STUDIO_SIZES) -> str:
    return f"0{kind:02b}{len(values) - 1:0{run_sizes[kind]}b}" + "".join(f"{v:0{word_size}b}" for v in values)


def masks_of_runs(rng: np.random.Generator, lengths: tuple[int, ...], at_most: int) -> np.ndarray:
    run_lengths = rng.choice(lengths, rng.integers(1, at_most + 1))
    values = (np.arange(run_lengths.size) + rng.integers(2)) % 2 == 1
    row = np.repeat(values, run_lengths)
    return row[:, None] if rng.integers(2) else row[None]


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    shape = rng.integers(1, 16, 2) * 2 - 1  # odd
    if rng.random() < 0.2:
        shape[rng.integers(2)] = 1
    return int(shape[0]), int(shape[1])


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.random(random_size(rng)) < rng.random()


def blobs(rng: np.random.Generator) -> np.ndarray:
    height, width = random_size(rng)
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(rng.integers(1, 4)):
        centre_y, centre_x, radius = rng.random(3) * (height, width, max(height, width) / 2)
        mask ^= (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
    return mask


def stripes(rng: np.random.Generator) -> np.ndarray:
    height, width = random_size(rng)
    y, x = np.mgrid[:height, :width]
    return (y * rng.integers(0, 3) + x * rng.integers(0, 3)) // rng.integers(1, 9) % 2 == 0


def one_value(rng: np.random.Generator) -> np.ndarray:
    return np.full(random_size(rng), bool(rng.integers(2)))


def short_runs(rng: np.random.Generator) -> np.ndarray:
    return masks_of_runs(rng, SHORT_RUNS, at_most=20)


def long_runs(rng: np.random.Generator) -> np.ndarray:
    return masks_of_runs(rng, SHORT_RUNS + LONG_RUNS, at_most=4)


FAMILIES = [(noise, 3500), (blobs, 2500), (stripes, 2000), (one_value, 800), (short_runs, 1000), (long_runs, 200)]


@pytest.mark.parametrize(("family", "number"), FAMILIES, ids=lambda value: getattr(value, "__name__", value))
def test_ten_thousand_masks_become_the_converters_bytes_and_masks_again(
    family: Callable[[np.random.Generator], np.ndarray], number: int
) -> None:
    assert sum(of_family for _, of_family in FAMILIES) == 10_000
    rng = np.random.default_rng(7)
    for _ in range(number):
        mask = family(rng)

        rle = encode_mask(mask)

        assert rle == by_the_converter(mask)
        assert np.array_equal(decode_mask(rle, *mask.shape), mask)


def test_a_mask_of_other_bytes_than_0_and_1_is_painted_where_they_are_not_0() -> None:
    values = np.random.default_rng(14).integers(0, 3, (7, 33), dtype=np.uint8) * 100

    assert encode_mask(values.view(np.bool_)) == by_the_converter(values > 0)


def test_the_converter_reads_the_same_mask() -> None:
    rng = np.random.default_rng(8)
    for _ in range(300):
        mask = noise(rng)

        alpha = alpha_by_the_converter(encode_mask(mask), *mask.shape)

        assert np.array_equal(alpha, mask * 255)


def test_one_painted_pixel_worked_out_by_hand() -> None:
    # 4 values; word size 8, run sizes 3 4 8 16: 00111 0010 0011 0111 1111; run 1, kind 00, 4 values 011, value 255
    assert encode_mask(np.array([[True]])) == [
        0,
        0,
        0,
        4,
        0b00111001,
        0b00011011,
        0b11111_100,
        0b011_11111,
        0b111_00000,
    ]


def test_two_rows_of_three_worked_out_by_hand() -> None:
    mask = np.array([[0, 0, 0], [0, 1, 0]], dtype=bool)
    # After the header: 16 values 0 (kind 01, 1111), 4 values 255, 4 values 0. That fills 12 bytes: one more.
    records = [0b11111_101, 0b1111_0000, 0b0000_100_0, 0b11_111111, 0b11_100_011, 0b00000000, 0]

    assert encode_mask(mask) == [0, 0, 0, 24, 57, 27, *records]


def test_the_recorded_mask_of_the_converter_is_met_and_read() -> None:
    mask = np.array([[pixel == "#" for pixel in row] for row in GOLDEN["converter"]["mask"]])

    assert encode_mask(mask) == GOLDEN["converter"]["rle"]
    assert np.array_equal(decode_mask(GOLDEN["converter"]["rle"], *mask.shape), mask)


@pytest.mark.parametrize("name", ["rle", "rle_with_word_size_9_and_run_sizes_1_5_9_12"])
def test_a_recorded_canvas_with_literals_is_visible_wherever_alpha_is_not_zero(name: str) -> None:
    alpha = np.array(GOLDEN["canvas"]["alpha"])

    assert np.array_equal(decode_mask(GOLDEN["canvas"][name], *alpha.shape), alpha > 0)


def test_json_is_written_from_the_array_as_from_the_list() -> None:
    mask = noise(np.random.default_rng(9))

    from_array = orjson.dumps(encode_mask_bytes(mask), option=orjson.OPT_SERIALIZE_NUMPY)

    assert from_array == orjson.dumps(encode_mask(mask))


def test_masks_with_strides_are_read_in_row_order() -> None:
    mask = noise(np.random.default_rng(10)).repeat(3, axis=1)

    assert encode_mask(mask.T[:, ::-1]) == by_the_converter(np.ascontiguousarray(mask.T[:, ::-1]))


def test_a_stream_of_many_lanes_comes_back() -> None:
    rng = np.random.default_rng(11)
    for density in (0.5, 0.05, 0.003):
        mask = rng.random((401, 503)) < density

        assert encode_mask(mask) == by_the_converter(mask)
        assert np.array_equal(decode_mask(encode_mask_bytes(mask), 401, 503), mask)


def random_rgba(rng: np.random.Generator) -> np.ndarray:
    pixels = rng.integers(0, 256, (*random_size(rng), 4), dtype=np.uint8)
    pixels[rng.random(pixels.shape) < rng.choice([0, 0.3, 0.9])] = 0
    return pixels.repeat(rng.choice([1, 3, 8]), axis=1)


def test_any_rgba_pixels_are_decoded_to_the_alpha_that_the_converter_sees() -> None:
    rng = np.random.default_rng(12)
    for _ in range(100):
        pixels = random_rgba(rng)
        rle = encode_rle(pixels.ravel())

        mask = decode_mask(rle, *pixels.shape[:2])

        assert np.array_equal(mask, alpha_by_the_converter(rle, *pixels.shape[:2]) > 0)
        assert np.array_equal(mask, pixels[:, :, 3] > 0)


def random_records(
    rng: np.random.Generator, word_size: int, run_sizes: tuple[int, ...]
) -> Iterator[tuple[str, list[int]]]:
    """Runs and literals, each as bits and as values; together a multiple of four values."""
    total = 0
    for _ in range(rng.integers(1, 60)):
        kind = int(rng.integers(4))
        length = int(rng.integers(1, min(2 ** run_sizes[kind], 3000), endpoint=True))
        values = (rng.integers(0, 2**word_size, length) * (rng.random(length) < 0.7)).tolist()
        total += length
        if rng.integers(2):
            yield run(length, values[0], kind, word_size, run_sizes), values[:1] * length
        else:
            yield literal(values, kind, word_size, run_sizes), values
    for _ in range(-total % 4):
        yield run(1, 1, 0, word_size, run_sizes), [1]


@pytest.mark.parametrize("word_size", [1, 2, 7, 8, 9, 16, 17, 25, 26, 31, 32])
def test_every_word_and_run_size_is_decoded(word_size: int) -> None:
    rng = np.random.default_rng(word_size)
    for _ in range(20):
        run_sizes = tuple(int(size) for size in rng.integers(1, 17, 4))
        records = list(random_records(rng, word_size, run_sizes))
        values = [value for _, of_record in records for value in of_record]
        rle = packed(len(values), [bits for bits, _ in records], word_size, run_sizes)

        mask = decode_mask(rle, 1, len(values) // 4)

        assert np.array_equal(mask[0], np.array(values[3::4]) != 0)


def test_literals_that_look_like_records_do_not_lead_astray() -> None:
    # Lanes are entered by a guess; here every guess is wrong: the literals' values are themselves streams of runs.
    decoy = encode_mask(np.random.default_rng(13).random((1, 4000)) < 0.5)[:4000]
    records, values = [], []
    for number in range(12):
        records += [literal(decoy[number:], kind=3), run(3 + number, number % 2, kind=3)]
        values += decoy[number:] + [number % 2] * (3 + number)
    records.append(run(8 - len(values) % 4, 255, kind=0))
    values += [255] * (8 - len(values) % 4)

    mask = decode_mask(packed(len(values), records), 1, len(values) // 4)

    assert np.array_equal(mask[0], np.array(values[3::4]) > 0)


def test_what_follows_the_last_value_is_ignored() -> None:
    mask = np.array([[True, False, True]])

    assert np.array_equal(decode_mask([*encode_mask(mask), 255, 255, 255, 255], 1, 3), mask)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4,), (2, 2, 1)])
def test_a_mask_without_pixels_or_with_other_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"pixels|\(H, W\)"):
        encode_mask(np.zeros(shape, dtype=bool))


def test_a_mask_that_is_not_boolean_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_mask(np.zeros((2, 3), dtype=np.uint8))  # type: ignore[arg-type]


def test_a_mask_of_more_values_than_the_count_can_tell_is_refused() -> None:
    mask = np.broadcast_to(np.False_, (2**15, 2**15))  # takes no memory

    with pytest.raises(ValueError, match="2\\^30"):
        encode_mask_bytes(mask)


PIXEL = [0, 0, 0, 4, 57, 27, 252, 127, 224]  # one painted pixel


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ([], "has 0 bytes; its header has 7"),
        (PIXEL[:6], "has 6 bytes"),
        (PIXEL[:7], "ends after 0 of 4 values"),
        (PIXEL[:8], "ends after 0 of 4 values"),
        ([0, 0, 0, 8, *PIXEL[4:]], "has 8 values; 1 x 1 RGBA pixels have 4"),
        ([255, 255, 255, 252, *PIXEL[4:]], "has 4294967292 values"),
        (packed(4, [run(5, 255, kind=0)]), "ends at 5 values, expected 4"),
        (packed(4, [literal([1, 2], kind=0), run(65536, 255, kind=3)]), "ends at 65538 values, expected 4"),
        (packed(4, ["011" + "1" * 16 + "1" * 8]), "ends after 0 of 4 values"),
        ([*PIXEL[:8], 256], r"rle\[8\] is 256, expected an integer from 0 to 255"),
        ([*PIXEL[:8], -1], r"rle\[8\] is -1"),
        ([*PIXEL[:8], 224.0], r"rle\[8\] is 224.0"),
        ([*PIXEL[:8], "224"], r"rle\[8\] is '224'"),
        ([*PIXEL[:8], None], r"rle\[8\] is None"),
        ("224", r"rle\[0\] is '2'"),
        (9, "not int"),
        (None, "not NoneType"),
        (np.array(PIXEL), "int64"),
        (np.array([PIXEL], dtype=np.uint8), r"\(1, 9\)"),
    ],
)
def test_a_broken_rle_is_refused_with_what_is_wrong(rle: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_mask(rle, 1, 1)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-1, -1)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        decode_mask(PIXEL, *size)


def test_random_bytes_are_decoded_or_refused_and_nothing_else() -> None:
    rng = np.random.default_rng(14)
    outcomes = set()
    for _ in range(2000):
        rle = [0, 0, 0, 48, *rng.integers(0, 256, rng.integers(3, 40)).tolist()]
        try:
            mask = decode_mask(rle, 3, 4)
            outcomes.add(mask.shape)
        except ValueError as error:
            outcomes.add(str(error).split()[2])

    assert outcomes == {(3, 4), "ends", "last"}


def test_cut_streams_are_refused_at_every_length() -> None:
    mask = np.random.default_rng(15).random((9, 41)) < 0.4
    rle = encode_mask(mask)
    longest_padding = 1 if rle[-1] == 0 else 0

    for length in range(len(rle) - longest_padding):
        with pytest.raises(ValueError, match=r"bytes|ends after"):
            decode_mask(rle[:length], 9, 41)
