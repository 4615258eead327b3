import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sam_model.masks.upscaling import (
    Axis,
    region_above,
    upscaled,
    upscaled_mask,
    upscaled_on_device,
    upscaled_strips,
)

AXES = {
    "twice, wide image": (Axis(64, 256, 0, 144, 1080), Axis(64, 256, 0, 256, 1920)),
    "twice, high image": (Axis(64, 256, 0, 256, 501), Axis(64, 256, 0, 171, 333)),
    "once": (Axis(64, 64, 0, 64, 90), Axis(64, 64, 0, 64, 50)),
    "borders": (Axis(24, 48, 5, 37, 77), Axis(32, 32, 3, 20, 99)),
    "smaller": (Axis(64, 256, 0, 256, 31), Axis(64, 256, 0, 100, 1)),
}


def blobs(rows: Axis, columns: Axis, seed: int = 1) -> torch.Tensor:
    """Return smooth maps (2, cells, cells): some areas are above 0."""
    noise = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(seed))
    return 20 * F.interpolate(noise, (rows.cells, columns.cells), mode="bicubic")[0]


@pytest.mark.parametrize(("rows", "columns"), AXES.values(), ids=AXES)
def test_logits_and_masks_are_what_pytorch_interpolates_on_a_gpu(rows: Axis, columns: Axis) -> None:
    maps = blobs(rows, columns)

    expected = upscaled_on_device(maps, rows, columns)

    torch.testing.assert_close(upscaled(maps, rows, columns), expected, atol=2e-4, rtol=0)
    for threshold in (-3.0, 0.0, 12.0):
        for logits, wanted in zip(maps.numpy(), expected.numpy(), strict=True):
            mask = upscaled_mask(logits, rows, columns, threshold)
            is_clear = np.abs(wanted - threshold) > 2e-4
            assert np.array_equal(mask[is_clear], (wanted > threshold)[is_clear])
            assert is_clear.mean() > 0.99


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


def test_a_region_limits_a_mask_and_an_empty_one_has_no_strips() -> None:
    rows, columns = AXES["once"]
    logits = np.ones((64, 64), np.float32)

    mask = upscaled_mask(logits, rows, columns, 0.0, (slice(10, 30), slice(20, 21)))

    assert mask[10:30, 20].all()
    assert mask.sum() == 20
    assert not upscaled_mask(-logits, rows, columns, 0.0).any()
    assert not list(upscaled_strips(logits, rows, columns, (slice(5, 5), slice(0, 3))))
