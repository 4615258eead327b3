"""Heads of YOLOv8: box and classes of each cell and, for segmentation, the coefficients of its mask.

Attribute names are the keys of the official checkpoints.

Sources: generalized focal loss, arXiv:2006.04388 (an edge's distance as a distribution, here over 16 bins); YOLACT,
arXiv:1904.02689 (prototypes and coefficients). The structure follows the published description of YOLOv8.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam_model.yolo.blocks import Conv
from sam_model.yolo.sizes import DISTANCE_BINS, PROTOTYPES, STRIDES

MAX_CLASS_CHANNELS = 100


@dataclass(frozen=True)
class RawDetections:
    """The heads' output for B images and A cells of three maps, in pixels of the network's input."""

    boxes: Tensor  # (B, A, 4), x_min, y_min, x_max, y_max
    class_scores: Tensor  # (B, A, classes), 0..1
    coefficients: Tensor | None = None  # (B, A, 32)
    prototypes: Tensor | None = None  # (B, 32, H / 4, W / 4)


def branch(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions and a plain 1 x 1 convolution."""
    return nn.Sequential(Conv(inputs, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))


class Dfl(nn.Module):
    """The mean of the distribution of an edge's distance (distribution focal loss)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(DISTANCE_BINS, 1, 1, bias=False)  # its weights are 0, 1, ..., 15
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map logits (B, 4 * 16, A) to distances (B, 4, A) in strides."""
        bins = x.reshape(len(x), 4, DISTANCE_BINS, -1).transpose(1, 2).softmax(dim=1)  # (B, 16, 4, A)
        distances: Tensor = self.conv(bins).squeeze(1)
        return distances


class Detect(nn.Module):
    """Box and class scores of each cell of the three maps."""

    def __init__(self, inputs: tuple[int, ...], classes: int) -> None:
        super().__init__()
        for_box = max(16, inputs[0] // 4, 4 * DISTANCE_BINS)
        for_class = max(inputs[0], min(classes, MAX_CLASS_CHANNELS))
        self.cv2 = nn.ModuleList(branch(channels, for_box, 4 * DISTANCE_BINS) for channels in inputs)
        self.cv3 = nn.ModuleList(branch(channels, for_class, classes) for channels in inputs)
        self.dfl = Dfl()

    def forward(self, maps: tuple[Tensor, ...]) -> RawDetections:
        """Map the three maps (B, inputs, H / stride, W / stride) with strides 8, 16, 32 to detections."""
        edges = torch.cat([box(x).flatten(2) for box, x in zip(self.cv2, maps, strict=True)], dim=2)  # (B, 64, A)
        scores = torch.cat([score(x).flatten(2) for score, x in zip(self.cv3, maps, strict=True)], dim=2)
        centres, strides = cell_centres(maps)
        left_top, right_bottom = self.dfl(edges).float().chunk(2, dim=1)  # (B, 2, A) each
        boxes = torch.cat([centres - left_top, centres + right_bottom], dim=1) * strides
        return RawDetections(boxes.transpose(1, 2), scores.float().sigmoid().transpose(1, 2))


class Prototypes(nn.Module):
    """Prototype masks at a quarter of the input's size; every mask is a linear combination of them."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cv1 = Conv(inputs, hidden, 3)
        self.upsample = nn.ConvTranspose2d(hidden, hidden, kernel_size=2, stride=2)
        self.cv2 = Conv(hidden, hidden, 3)
        self.cv3 = Conv(hidden, PROTOTYPES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H / 8, W / 8) to (B, 32, H / 4, W / 4)."""
        out: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return out


class Segment(Detect):
    """A `Detect` with the coefficients of each cell's mask."""

    def __init__(self, inputs: tuple[int, ...], classes: int, hidden: int) -> None:
        super().__init__(inputs, classes)
        self.proto = Prototypes(inputs[0], hidden)
        self.cv4 = nn.ModuleList(branch(channels, max(inputs[0] // 4, PROTOTYPES), PROTOTYPES) for channels in inputs)

    def forward(self, maps: tuple[Tensor, ...]) -> RawDetections:
        """Map the three maps (B, inputs, H / stride, W / stride) with strides 8, 16, 32 to detections with masks."""
        found = super().forward(maps)
        mixes = torch.cat([mix(x).flatten(2) for mix, x in zip(self.cv4, maps, strict=True)], dim=2)
        prototypes = self.proto(maps[0])
        return RawDetections(found.boxes, found.class_scores, mixes.float().transpose(1, 2), prototypes.float())


def cell_centres(maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return the centres of the cells of the three maps, (2, A) in strides, and their strides (1, A)."""
    centres, strides = [], []
    for x, stride in zip(maps, STRIDES, strict=True):
        rows, columns = (torch.arange(side, device=x.device, dtype=torch.float32) + 0.5 for side in x.shape[2:])
        y, x_ = torch.meshgrid(rows, columns, indexing="ij")
        centres.append(torch.stack([x_.flatten(), y.flatten()]))
        strides.append(torch.full((1, y.numel()), float(stride), device=x.device))
    return torch.cat(centres, dim=1), torch.cat(strides, dim=1)
