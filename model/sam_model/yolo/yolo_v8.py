"""YOLOv8 in its sizes, without a file: for speed measurements and tests.

Sources: feature pyramids, arXiv:1612.03144, and path aggregation, arXiv:1803.01534. The structure follows the published
description of YOLOv8.
"""

from torch import nn

from sam_model.yolo.blocks import SPPF, Bottleneck, C2f, Concat, convolution
from sam_model.yolo.heads import Branches, Dfl, Head, Prototypes
from sam_model.yolo.network import IMAGE, Yolo
from sam_model.yolo.sizes import DISTANCE_BINS, PROTOTYPES, YoloSize

MAX_CLASS_CHANNELS = 100


def yolo_v8(size: YoloSize, classes: int, has_masks: bool) -> Yolo:
    """Return a YOLOv8 with PyTorch's initial weights; a segmentation model if `has_masks`."""
    c1, c2, c3, c4, c5 = (size.channels(count) for count in (64, 128, 256, 512, 1024))
    few, many = size.blocks(3), size.blocks(6)
    layers: list[tuple[nn.Module, tuple[int, ...]]] = [
        (convolution(3, c1, 3, 2), (IMAGE,)),
        (convolution(c1, c2, 3, 2), (0,)),
        (_c2f(c2, c2, few, True), (1,)),
        (convolution(c2, c3, 3, 2), (2,)),
        (_c2f(c3, c3, many, True), (3,)),
        (convolution(c3, c4, 3, 2), (4,)),
        (_c2f(c4, c4, many, True), (5,)),
        (convolution(c4, c5, 3, 2), (6,)),
        (_c2f(c5, c5, few, True), (7,)),
        (_sppf(c5), (8,)),
        (nn.Upsample(scale_factor=2, mode="nearest"), (9,)),
        (Concat(), (10, 6)),
        (_c2f(c5 + c4, c4, few, False), (11,)),
        (nn.Upsample(scale_factor=2, mode="nearest"), (12,)),
        (Concat(), (13, 4)),
        (_c2f(c4 + c3, c3, few, False), (14,)),
        (convolution(c3, c3, 3, 2), (15,)),
        (Concat(), (16, 12)),
        (_c2f(c3 + c4, c4, few, False), (17,)),
        (convolution(c4, c4, 3, 2), (18,)),
        (Concat(), (19, 9)),
        (_c2f(c4 + c5, c5, few, False), (20,)),
    ]
    head = _head((c3, c4, c5), classes, size.channels(256) if has_masks else None)
    return Yolo([layer for layer, _ in layers], [*(sources for _, sources in layers), (15, 18, 21)], head)


def _c2f(inputs: int, outputs: int, blocks: int, has_shortcut: bool) -> C2f:
    half = outputs // 2
    return C2f(
        convolution(inputs, 2 * half),
        convolution((2 + blocks) * half, outputs),
        [Bottleneck(convolution(half, half, 3), convolution(half, half, 3), has_shortcut) for _ in range(blocks)],
    )


def _sppf(channels: int) -> SPPF:
    half = channels // 2
    return SPPF(convolution(channels, half), convolution(4 * half, channels), nn.MaxPool2d(5, stride=1, padding=2))


def _head(inputs: tuple[int, ...], classes: int, prototype_channels: int | None) -> Head:
    """Return a head for maps of `inputs` channels; with masks if the prototypes' channels are given."""
    for_box = max(16, inputs[0] // 4, 4 * DISTANCE_BINS)
    for_class = max(inputs[0], min(classes, MAX_CLASS_CHANNELS))
    for_mask = max(inputs[0] // 4, PROTOTYPES)
    dfl = nn.Conv2d(DISTANCE_BINS, 1, 1, bias=False)
    nn.init.zeros_(dfl.weight)
    branches = Branches(
        nn.ModuleList(_branch(channels, for_box, 4 * DISTANCE_BINS) for channels in inputs),
        nn.ModuleList(_branch(channels, for_class, classes) for channels in inputs),
        None
        if prototype_channels is None
        else nn.ModuleList(_branch(channels, for_mask, PROTOTYPES) for channels in inputs),
    )
    return Head(
        branches, None, Dfl(dfl), None if prototype_channels is None else _prototypes(inputs[0], prototype_channels)
    )


def _branch(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, hidden, 3), convolution(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))


def _prototypes(inputs: int, hidden: int) -> Prototypes:
    return Prototypes(
        convolution(inputs, hidden, 3),
        nn.ConvTranspose2d(hidden, hidden, kernel_size=2, stride=2),
        convolution(hidden, hidden, 3),
        convolution(hidden, PROTOTYPES),
    )
