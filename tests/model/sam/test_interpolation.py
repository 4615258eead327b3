import pytest
import torch
import torch.nn.functional as F

from sam_model.sam.interpolation import interpolate


@pytest.mark.parametrize(
    ("source", "size"),
    [((256, 256), (1024, 1024)), ((683, 1024), (301, 452)), ((64, 48), (32, 24)), ((5, 7), (5, 7)), ((9, 4), (1, 33))],
)
def test_opencv_interpolates_as_pytorch_does(source: tuple[int, int], size: tuple[int, int]) -> None:
    noise = 20 * torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    maps = F.interpolate(noise, source, mode="bicubic")[0]  # logits are smooth
    cut = maps[:, :, : source[1] - 1]  # not contiguous, as the maps without padding are

    for given in (maps, cut):
        expected = F.interpolate(given[None], size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(interpolate(given, size), expected, atol=1e-3, rtol=0)
