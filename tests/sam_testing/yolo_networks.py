"""Small networks of the blocks of YOLOv5u, YOLO11 and YOLO26, which read and write as real ones do."""

from torch import nn

from sam_model.yolo.attention import Attention, C2psa, PsaBlock
from sam_model.yolo.blocks import C3, SPPF, Bottleneck, C2f, Concat, Conv, convolution
from sam_model.yolo.heads import Branches, FusedPrototypes, Head
from sam_model.yolo.network import IMAGE, Yolo
from sam_testing.yolo_files import CLASSES, seeded

CHANNELS = 16


def small_yolo(
    has_masks: bool = False, *, is_one_to_one: bool = True, is_one_to_many: bool = True, seed: int = 0
) -> Yolo:
    """Return a network with a layer of each kind, and a head with one or both sets of branches."""
    c = CHANNELS
    layers: list[tuple[nn.Module, tuple[int, ...]]] = [
        (convolution(3, c, 6, 2), (IMAGE,)),
        (convolution(c, c, 3, 2), (0,)),
        (_c3(c), (1,)),
        (convolution(c, c, 3, 2), (2,)),
        (C2f(convolution(c, c), convolution(c + c // 2, c), [_c3(c // 2)]), (3,)),
        (convolution(c, c, 3, 2), (4,)),
        (_sppf(c), (5,)),
        (C2psa(convolution(c, c), convolution(c, c), nn.Sequential(_attention(c // 2))), (6,)),
        (nn.Upsample(scale_factor=2, mode="nearest"), (7,)),
        (Concat(), (8, 4)),
        (convolution(2 * c, c), (9,)),
        (convolution(c, c, 3, 2), (10,)),
        (convolution(c, c, 3, 2), (11,)),
        (C2f(convolution(c, c), convolution(c + c // 2, c), [_with_attention(c // 2)]), (12,)),
    ]
    layers[0][0].get_submodule("conv").padding = (2, 2)  # type: ignore[assignment] # a 6 x 6 kernel halves the map
    many = _branches(has_masks) if is_one_to_many else None
    one = _branches(has_masks) if is_one_to_one else None
    proto = _prototypes() if has_masks else None
    head = Head(many, one, nn.Identity(), proto)  # one bin: the distances themselves
    network = Yolo([layer for layer, _ in layers], [*(sources for _, sources in layers), (10, 11, 13)], head)
    return seeded(network, seed)


def _without_activation(conv: Conv) -> Conv:
    conv.act = nn.Identity()
    return conv


def _bottleneck(channels: int) -> Bottleneck:
    return Bottleneck(convolution(channels, channels), convolution(channels, channels, 3), has_shortcut=True)


def _c3(channels: int) -> C3:
    half = channels // 2
    return C3(
        convolution(channels, half), convolution(channels, half), convolution(2 * half, channels), [_bottleneck(half)]
    )


def _sppf(channels: int) -> SPPF:
    pool = nn.MaxPool2d(5, stride=1, padding=2)
    first = _without_activation(convolution(channels, channels // 2))
    return SPPF(first, convolution(channels // 2 * 3, channels), pool, repeats=2, has_shortcut=True)


def _attention(channels: int) -> PsaBlock:
    heads, keys = 2, channels // 4
    attention = Attention(
        _without_activation(convolution(channels, channels + 2 * heads * keys)),
        _without_activation(convolution(channels, channels)),
        _without_activation(convolution(channels, channels, 3, groups=channels)),
        heads,
        keys,
    )
    ffn = nn.Sequential(convolution(channels, 2 * channels), _without_activation(convolution(2 * channels, channels)))
    return PsaBlock(attention, ffn)


def _with_attention(channels: int) -> nn.Sequential:
    return nn.Sequential(_bottleneck(channels), _attention(channels))


def _branches(has_masks: bool) -> Branches:
    return Branches(_branch(4), _branch(len(CLASSES)), _branch(32) if has_masks else None)


def _branch(outputs: int) -> nn.ModuleList:
    c = CHANNELS
    return nn.ModuleList(
        nn.Sequential(nn.Sequential(convolution(c, c, 3, groups=c), convolution(c, c)), nn.Conv2d(c, outputs, 1))
        for _ in range(3)
    )


def _prototypes() -> FusedPrototypes:
    c = CHANNELS
    return FusedPrototypes(
        convolution(c, c, 3),
        nn.ConvTranspose2d(c, c, kernel_size=2, stride=2),
        convolution(c, c, 3),
        convolution(c, 32),
        nn.ModuleList([convolution(c, c), convolution(c, c)]),
        convolution(c, c, 3),
    )
