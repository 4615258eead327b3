"""Keys, shapes and sizes of the networks, and each fast path against the plain one."""

from pathlib import Path
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.masks.upscaling import upscaled
from sam_model.sam import attention
from sam_model.sam.attention import RelativeAttention
from sam_model.sam.layers import LayerNorm2d, flat_tokens, join_windows, split_windows
from sam_model.sam.mask_decoder import MaskDecoder, pixels_in_place
from sam_model.sam.sam import Sam, parameter_count
from sam_model.sam.sizes import SIZES, SamSize
from sam_model.sam.tiny_vit import ConvBN, WindowAttention
from sam_model.sam.two_way_transformer import TwoWayBlock, TwoWayTransformer
from sam_model.sam_checkpoints import empty_sam
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, TINY_VIT_SAM, key_lines, seeded_sam, values_for

GOLDEN = Path(__file__).parents[2] / "golden"
ROUNDING = 1e-5  # float32 sums of a few hundred terms of order 1, in another order


M = TypeVar("M", bound=nn.Module)


def seeded(module: M) -> M:
    state = {name: values_for(name, tensor, seed=1) for name, tensor in module.state_dict().items()}
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", SIZES)
def test_keys_and_shapes_are_those_of_the_official_checkpoints(name: str) -> None:
    golden = (GOLDEN / f"{name}_keys.txt").read_text().splitlines()

    assert key_lines(empty_sam(SIZES[name]).state_dict()) == golden


@pytest.mark.parametrize(
    ("name", "millions"), [("mobile_sam", 10.1), ("sam_b", 93.7), ("sam_l", 312.3), ("sam_h", 641.1)]
)
def test_parameter_counts_are_the_published_ones(name: str, millions: float) -> None:
    assert round(parameter_count(empty_sam(SIZES[name])) / 1e6, 1) == millions


def test_an_empty_model_costs_no_memory() -> None:
    assert all(parameter.is_meta for parameter in empty_sam(SIZES["sam_h"]).parameters())


@pytest.mark.parametrize("size", [TINY_VIT_SAM, TINY_MOBILE_SAM], ids=lambda size: size.name)
def test_an_image_becomes_an_embedding_a_sixteenth_as_long(size: SamSize) -> None:
    model = seeded_sam(size)

    with torch.inference_mode():
        embedding = model.image_encoder(noise(2, 3, 128, 128))

    assert embedding.shape == (2, 32, 8, 8)
    assert 0.5 < embedding.std() < 2
    assert (embedding[0] - embedding[1]).abs().max() > 0.1  # it depends on the image


def plain_relative_attention(module: RelativeAttention, x: Tensor) -> Tensor:
    """Attention on one window, by the formula of ViTDet: every query, every key, one by one in the bias."""
    batch, side = len(x), module.side
    q, k, v = module.qkv(x).view(batch, side * side, 3, module.heads, -1).permute(2, 0, 3, 1, 4)
    logits = module.scale * q @ k.transpose(-2, -1)
    for query in range(side * side):
        for key in range(side * side):
            rows, columns = query // side - key // side, query % side - key % side
            vector = module.rel_pos_h[rows + side - 1] + module.rel_pos_w[columns + side - 1]
            logits[:, :, query, key] += q[:, :, query] @ vector
    y = logits.softmax(-1) @ v
    return module.proj(y.transpose(1, 2).reshape(batch, side, side, -1))


@pytest.mark.parametrize("bias_bytes", [attention.BIAS_BYTES, 2 * 2 * 25 * 25 * 4, 1], ids=["all", "two", "one"])
def test_relative_attention_follows_the_formula(bias_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of its three heads are looked at together."""
    monkeypatch.setattr(attention, "BIAS_BYTES", bias_bytes)
    module = seeded(RelativeAttention(width=24, heads=3, side=5))
    x = noise(2, 5, 5, 24)

    assert torch.allclose(module(x), plain_relative_attention(module, x), atol=ROUNDING)


def test_windows_over_the_edge_see_zeros_there() -> None:
    module = seeded(RelativeAttention(width=24, heads=3, side=5))
    x = noise(1, 7, 11, 24)

    padded = F.pad(x, (0, 0, 0, 4, 0, 3))  # zeros, to 10 x 15
    windows = padded.view(1, 2, 5, 3, 5, 24).transpose(2, 3).reshape(6, 5, 5, 24)
    plain = plain_relative_attention(module, windows)
    plain = plain.view(1, 2, 3, 5, 5, 24).transpose(2, 3).reshape(1, 10, 15, 24)[:, :7, :11]

    assert torch.allclose(module(x), plain, atol=ROUNDING)


def test_split_windows_go_row_by_row_and_come_back() -> None:
    x = torch.arange(1, 1 + 2 * 3 * 4.0).view(2, 3, 4, 1)

    windows = split_windows(flat_tokens(x, side=2), 3, 4, side=2)

    assert windows.shape == (8, 4, 1)
    assert windows[1].flatten().tolist() == [3, 4, 7, 8]
    assert windows[2].flatten().tolist() == [9, 10, 0, 0]
    assert windows[4].flatten().tolist() == [13, 14, 17, 18]
    assert torch.equal(join_windows(windows, 3, 4), x)


def test_tiny_vit_attention_follows_the_formula() -> None:
    module = seeded(WindowAttention(width=24, heads=3, side=4))
    x = noise(1, 6, 7, 24)

    padded = module.norm(F.pad(x, (0, 0, 0, 1, 0, 2)))  # zeros before the norm, to 8 x 8
    windows = padded.view(1, 2, 4, 2, 4, 24).transpose(2, 3).reshape(4, 16, 24)
    q, k, v = module.qkv(windows).view(4, 16, 3, 3, 8).permute(3, 0, 2, 1, 4)
    logits = q @ k.transpose(-2, -1) / 8**0.5
    for query in range(16):
        for key in range(16):
            rows, columns = abs(query // 4 - key // 4), abs(query % 4 - key % 4)
            logits[:, :, query, key] += module.attention_biases[:, 4 * rows + columns]
    y = (logits.softmax(-1) @ v).transpose(1, 2).reshape(4, 16, 24)
    plain = module.proj(y).view(1, 2, 2, 4, 4, 24).transpose(2, 3).reshape(1, 8, 8, 24)[:, :6, :7]

    assert torch.allclose(module(x), plain, atol=ROUNDING)


@pytest.mark.parametrize("options", [{"kernel_size": 3, "stride": 2}, {"kernel_size": 3, "groups": 6}, {}])
def test_a_folded_batch_norm_equals_convolution_and_norm(options: dict[str, int]) -> None:
    module = seeded(ConvBN(6, 12, **options))
    x = noise(2, 6, 9, 7)

    assert torch.allclose(module(x), module.bn(module.c(x)), atol=ROUNDING)


def test_layer_norm_works_on_the_channels_of_each_pixel() -> None:
    module = LayerNorm2d(3)
    x = noise(1, 3, 2, 2)

    y = module(x)

    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(y, expected, atol=ROUNDING)


def test_masks_grow_as_by_the_transposed_convolutions() -> None:
    decoder = seeded(MaskDecoder(TINY_VIT_SAM))
    places = noise(2, 64, 32)  # (P, K, C) on a grid of 8 x 8

    plain = decoder.output_upscaling(places.transpose(1, 2).view(2, 32, 8, 8))  # (P, C / 8, 32, 32)
    ours = decoder.upscale(places).flatten(1, 3).transpose(1, 2)  # (P, C / 8, K * 16)

    assert torch.allclose(pixels_in_place(ours, grid=8), plain, atol=ROUNDING)


def in_the_paper_s_order(module: TwoWayTransformer, image: Tensor, places: Tensor, prompt: Tensor) -> list[Tensor]:
    """Compute what `module` does as the paper's figure shows it: each attention on the whole image."""
    tokens = prompt
    for block in module.layers:
        assert isinstance(block, TwoWayBlock)
        placed = tokens if block.is_first else tokens + prompt
        seen = block.self_attn(placed, placed, tokens)
        tokens = block.norm1(seen if block.is_first else tokens + seen)
        tokens = block.norm2(tokens + block.cross_attn_token_to_image(tokens + prompt, image + places, image))
        tokens = block.norm3(tokens + block.mlp(tokens))
        image = block.norm4(image + block.cross_attn_image_to_token(image + places, tokens + prompt, tokens))
    seen = module.final_attn_token_to_image(tokens + prompt, image + places, image)
    return [module.norm_final_attn(tokens + seen), image]


def test_the_transformer_equals_the_paper_s_in_another_order() -> None:
    module = seeded(TwoWayTransformer(width=64, depth=2, heads=8, mlp=128))
    image, places, prompt = 3 * noise(1, 48, 64), noise(1, 48, 64), noise(3, 7, 64)

    found = module(image, places, prompt)

    for one, expected in zip(found, in_the_paper_s_order(module, image.expand(3, -1, -1), places, prompt), strict=True):
        assert one.shape == expected.shape
        assert (one - expected).abs().max() < 1e-5 * (expected.max() - expected.min())


def test_only_the_wanted_tokens_are_returned() -> None:
    module = seeded(TwoWayTransformer(width=64, depth=2, heads=8, mlp=128))
    image, places, prompt = 3 * noise(1, 48, 64), noise(1, 48, 64), noise(3, 7, 64)
    parts = (*module.prepare(image, places), *module.place_parts(places))

    tokens, updated = module.attend(parts, prompt, wanted=5)

    for one, expected in zip((tokens, updated), module(image, places, prompt), strict=True):
        assert torch.allclose(one, expected[:, : one.shape[1]], atol=ROUNDING)
    assert tokens.shape == (3, 5, 64)


def test_pixels_are_normalised_and_padded_right_and_below() -> None:
    model = Sam(TINY_VIT_SAM)
    pixels = torch.full((1, 3, 128, 96), 255.0)

    x = model.preprocess(pixels)

    assert x.shape == (1, 3, 128, 128)
    assert x[0, 0, 0, 0] == pytest.approx((255 - 123.675) / 58.395)
    assert x[0, 2, 127, 95] == pytest.approx((255 - 103.53) / 57.375)
    assert not x[..., 96:].any()


def test_masks_come_back_without_the_padding() -> None:
    model = Sam(TINY_VIT_SAM)
    logits = torch.full((1, 32, 32), -1.0)
    logits[:, :, :8] = 1.0  # the left quarter of the square, half of an image twice as high as wide

    masks = upscaled(logits, *model.mask_axes(input_size=(128, 64), image_size=(40, 20))) > 0

    assert masks.shape == (1, 40, 20)
    assert masks[0, :, :10].all()
    assert not masks[0, :, 10:].any()
