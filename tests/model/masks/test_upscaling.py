from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam_model.masks.upscaling import (
    Axis,
    interpolation,
    mark_above,
    region_above,
    upscaled,
    upscaled_mask,
    upscaled_on_device,
    upscaled_part,
    upscaled_strips,
)

AXES = {
    "twice, wide image": (Axis(64, 256, 0, 144, 1080), Axis(64, 256, 0, 256, 1920)),
    "twice, high image": (Axis(64, 256, 0, 256, 501), Axis(64, 256, 0, 171, 333)),
    "once": (Axis(64, 64, 0, 64, 90), Axis(64, 64, 0, 64, 50)),
    "borders": (Axis(24, 48, 5, 37, 77), Axis(32, 32, 3, 20, 99)),
    "smaller": (Axis(64, 256, 0, 256, 31), Axis(64, 256, 0, 100, 1)),
}
ROUNDING = 2e-4  # of logits up to 100
needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed (extra [cpu])")


def blobs(rows: Axis, columns: Axis, seed: int = 1) -> torch.Tensor:
    """Return smooth maps (2, cells, cells): some areas are above 0."""
    noise = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(seed))
    return 20 * F.interpolate(noise, (rows.cells, columns.cells), mode="bicubic")[0]


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    cells = draw(st.integers(3, 40))
    fine = cells * draw(st.integers(1, 4))
    start = draw(st.integers(0, fine - 1))
    return Axis(cells, fine, start, draw(st.integers(1, fine - start)), draw(st.integers(1, 300)))


def maps(rows: Axis, columns: Axis, kind: str, seed: int) -> NDArray[np.float32]:
    if kind == "noise":
        return np.random.default_rng(seed).normal(0, 5, (rows.cells, columns.cells)).astype(np.float32)
    logits = blobs(rows, columns, seed)[0].numpy()
    return {"smooth": logits, "positive": np.abs(logits) + 1, "negative": -np.abs(logits) - 1}[kind]


@pytest.mark.usefixtures("loops_of_upscaling")
@pytest.mark.parametrize(("rows", "columns"), AXES.values(), ids=AXES)
def test_logits_and_masks_are_what_pytorch_interpolates_on_a_gpu(rows: Axis, columns: Axis) -> None:
    maps = blobs(rows, columns)

    expected = upscaled_on_device(maps, rows, columns)

    torch.testing.assert_close(upscaled(maps, rows, columns), expected, atol=ROUNDING, rtol=0)
    for threshold in (-3.0, 0.0, 12.0):
        for logits, wanted in zip(maps.numpy(), expected.numpy(), strict=True):
            mask = upscaled_mask(logits, rows, columns, threshold)
            is_clear = np.abs(wanted - threshold) > ROUNDING
            assert np.array_equal(mask[is_clear], (wanted > threshold)[is_clear])
            assert is_clear.mean() > 0.99


@needs_numba
@settings(max_examples=150, deadline=None)
@given(
    axes(),
    axes(),
    st.sampled_from(["smooth", "noise", "positive", "negative"]),
    st.integers(0, 99),
    st.sampled_from([-3.0, 0.0, 0.7]),
    st.sampled_from([0.0, 1.0]),
    st.data(),
)
def test_compiled_loops_compute_the_pixels_and_areas_of_whole_maps(
    rows: Axis, columns: Axis, kind: str, seed: int, threshold: float, offset: float, data: st.DataObject
) -> None:
    logits = maps(rows, columns, kind, seed)
    top, left = data.draw(st.integers(0, rows.full)), data.draw(st.integers(0, columns.full))
    region = (
        slice(top, data.draw(st.integers(top, rows.full))),
        slice(left, data.draw(st.integers(left, columns.full))),
    )
    frame = np.zeros((rows.full, columns.full), dtype=bool)

    areas = mark_above(frame[region], logits, rows, columns, region, threshold, offset)

    whole = upscaled_on_device(torch.from_numpy(logits)[None], rows, columns)[0].numpy()
    wanted = whole[region]
    is_clear = np.abs(wanted - threshold) > ROUNDING
    assert np.array_equal(frame[region][is_clear], (wanted > threshold)[is_clear])
    frame[region] = False
    assert not frame.any()
    if offset:
        for area, limit in zip(areas, (threshold - offset, threshold + offset), strict=True):
            assert abs(area - np.count_nonzero(wanted > limit)) <= np.count_nonzero(np.abs(wanted - limit) <= ROUNDING)

    part, place = upscaled_part(logits, rows, columns, threshold, region)
    of_part = np.zeros_like(frame)
    of_part[place] = part
    assert np.array_equal(upscaled_mask(logits, rows, columns, threshold, region), of_part)
    of_part[region] = of_part[region] != (whole > threshold)[region]
    assert not (of_part & (np.abs(whole - threshold) > ROUNDING)).any()


@needs_numba
@settings(max_examples=50, deadline=None)
@given(axes(), axes(), st.sampled_from(["smooth", "noise"]), st.integers(0, 99))
def test_compiled_loops_round_as_the_weighted_sums_do(rows: Axis, columns: Axis, kind: str, seed: int) -> None:
    """The weights are added in their order, with a rounding after each step, whatever the processor's instructions."""
    logits = maps(rows, columns, kind, seed)
    down, across = interpolation(rows), interpolation(columns)

    def weighted(cells: NDArray[np.float32], first: NDArray[np.uint32], weights: NDArray[np.float32]) -> torch.Tensor:
        one, two, three = (weights[k][:, None] * cells[first + np.uint32(k)] for k in range(3))
        return np.ascontiguousarray((one + two) + three)

    stretched = weighted(np.ascontiguousarray(logits.T), across.first, across.weights).T
    wanted = weighted(stretched, down.first, down.weights) > 0

    assert np.array_equal(upscaled_mask(logits, rows, columns, 0.0), wanted)


@pytest.mark.usefixtures("loops_of_upscaling")
@pytest.mark.parametrize(("rows", "columns"), AXES.values(), ids=AXES)
def test_no_pixel_outside_the_region_is_above_the_threshold(rows: Axis, columns: Axis) -> None:
    for y in range(0, rows.cells, 3):
        for x in (0, columns.cells // 3, columns.cells - 1):
            logits = torch.full((1, rows.cells, columns.cells), -1.0)
            logits[0, y, x] = 1e6  # so that each pixel that it is part of is above 0

            region = region_above(logits[0].numpy(), rows, columns, 0.0)

            wanted = upscaled_on_device(logits, rows, columns)[0] > 0
            found = torch.zeros_like(wanted)
            found[region] = True
            assert not (wanted & ~found).any()
            assert np.array_equal(upscaled_mask(logits[0].numpy(), rows, columns, 0.0), wanted.numpy())


@pytest.mark.usefixtures("loops_of_upscaling")
def test_a_region_limits_a_mask_and_an_empty_one_has_no_strips() -> None:
    rows, columns = AXES["once"]
    logits = np.ones((64, 64), np.float32)

    mask = upscaled_mask(logits, rows, columns, 0.0, (slice(10, 30), slice(20, 21)))

    assert mask[10:30, 20].all()
    assert mask.sum() == 20
    assert not upscaled_mask(-logits, rows, columns, 0.0).any()
    assert not list(upscaled_strips(logits, rows, columns, (slice(5, 5), slice(0, 3))))


@needs_numba
def test_a_logit_that_is_not_a_number_belongs_to_no_mask() -> None:
    rows, columns = AXES["once"]
    logits = np.ones((64, 64), np.float32)
    logits[30, 30] = np.nan

    mask = upscaled_mask(logits, rows, columns, 0.0)

    assert not mask[42:44, 23:25].any()
    assert mask[:39].all()


def test_logits_that_cannot_be_written_and_have_gaps_are_read() -> None:
    rows, columns = AXES["once"]
    logits = blobs(rows, columns)[0].numpy()
    strided = np.repeat(np.repeat(logits, 2, axis=0), 2, axis=1)[::2, ::2]
    strided.flags.writeable = False

    assert np.array_equal(upscaled_mask(strided, rows, columns, 0.0), upscaled_mask(logits, rows, columns, 0.0))


@pytest.mark.parametrize(("cells", "fine"), [(2, 8), (64, 63)])
def test_an_axis_has_three_cells_and_does_not_become_smaller(cells: int, fine: int) -> None:
    with pytest.raises(ValueError, match=rf"{cells} cells become {fine} pixels"):
        Axis(cells, fine, 0, fine, 100)
