"""Heads of the YOLO networks: box and classes of each cell and, for segmentation, the coefficients of its mask.

A head has one or two sets of branches. Those for many cells per object need non-maximum suppression. Those for one cell
per object (YOLO26) need none. Attribute names are the keys of the official checkpoints.

Sources: generalized focal loss, arXiv:2006.04388 (an edge's distance as a distribution over bins); YOLOv10,
arXiv:2405.14458, section 3.1 (one cell per object); YOLACT, arXiv:1904.02689 (prototypes and coefficients). The
structure follows the published descriptions of YOLOv8, YOLO11 and YOLO26.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.yolo.sizes import STRIDES


@dataclass(frozen=True)
class RawDetections:
    """The heads' output for B images and A cells of all maps, in pixels of the network's input."""

    boxes: Tensor  # (B, A, 4), x_min, y_min, x_max, y_max
    class_scores: Tensor  # (B, A, classes), 0..1
    coefficients: Tensor | None = None  # (B, A, 32)
    prototypes: Tensor | None = None  # (B, 32, H / 4, W / 4)
    is_one_to_one: bool = False  # one cell per object, so no suppression is needed

    def of_image(self, index: int) -> "RawDetections":
        """Return those of one image of the batch."""
        part = slice(index, index + 1)
        return RawDetections(
            self.boxes[part],
            self.class_scores[part],
            None if self.coefficients is None else self.coefficients[part],
            None if self.prototypes is None else self.prototypes[part],
            self.is_one_to_one,
        )


class Dfl(nn.Module):
    """The mean of the distribution of an edge's distance (distribution focal loss)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv  # its weights are 0, 1, ..., the last bin

    def forward(self, x: Tensor) -> Tensor:
        """Map logits (B, 4 * bins, A) to distances (B, 4, A) in strides."""
        bins = self.conv.in_channels
        shares = x.reshape(len(x), 4, bins, -1).transpose(1, 2).softmax(dim=1)  # (B, bins, 4, A)
        distances: Tensor = self.conv(shares).squeeze(1)
        return distances


@dataclass(frozen=True)
class Branches:
    """The branches of a head, each with a module per map."""

    boxes: nn.ModuleList
    classes: nn.ModuleList
    coefficients: nn.ModuleList | None = None


class Head(nn.Module):
    """Box and class scores of each cell of the maps; with prototypes also the coefficients of its mask."""

    def __init__(
        self,
        one_to_many: Branches | None,
        one_to_one: Branches | None,
        dfl: nn.Module,
        proto: nn.Module | None = None,
        strides: tuple[int, ...] = STRIDES,
    ) -> None:
        """Take the modules.

        Args:
            one_to_many: the branches whose boxes need suppression, if the file has them.
            one_to_one: the branches whose boxes need none, if the file has them; one of the two is needed.
            dfl: makes distances from the output of a box branch.
            proto: makes the prototypes from the maps; None for a network without masks.
            strides: pixels of the input per cell of each map.
        """
        super().__init__()
        assert one_to_many or one_to_one
        for prefix, branches in (("", one_to_many), ("one2one_", one_to_one)):
            if branches is not None:
                self.add_module(f"{prefix}cv2", branches.boxes)
                self.add_module(f"{prefix}cv3", branches.classes)
                if branches.coefficients is not None:
                    self.add_module(f"{prefix}cv4", branches.coefficients)
        self.dfl, self.proto, self.strides = dfl, proto, strides
        self.one_to_many, self.one_to_one = one_to_many, one_to_one

    @property
    def classes(self) -> int:
        """The number of classes."""
        first_map = self.branches(one_to_one=False).classes[0]
        last = list(first_map.modules())[-1]
        assert isinstance(last, nn.Conv2d)
        return last.out_channels

    def branches(self, *, one_to_one: bool) -> Branches:
        """Return the branches to use: those asked for, or the only ones that there are."""
        wanted, other = (self.one_to_one, self.one_to_many) if one_to_one else (self.one_to_many, self.one_to_one)
        found = wanted or other
        assert found is not None
        return found

    def forward(self, maps: Sequence[Tensor], *, one_to_one: bool = False) -> tuple[Tensor, ...]:
        """Map the maps (B, inputs, H / stride, W / stride), finest first, to what `detections` reads."""
        branches = self.branches(one_to_one=one_to_one)
        edges, scores = _cells(branches.boxes, maps), _cells(branches.classes, maps)
        if branches.coefficients is None or self.proto is None:
            return edges, scores
        return edges, scores, _cells(branches.coefficients, maps), self.proto(maps)

    def detections(
        self, outputs: tuple[Tensor, ...], image_size: tuple[int, int], *, one_to_one: bool = False
    ) -> RawDetections:
        """Return the detections of the outputs of `forward` for an input of `image_size` (height, width)."""
        edges, scores, *masks = outputs
        sizes = [(image_size[0] // stride, image_size[1] // stride) for stride in self.strides]
        centres, strides = centres_of_sizes(sizes, self.strides, edges.device)
        left_top, right_bottom = self.dfl(edges).float().chunk(2, dim=1)  # (B, 2, A) each
        boxes = torch.cat([centres - left_top, centres + right_bottom], dim=1) * strides
        scores = scores.float().sigmoid().transpose(1, 2)
        coefficients, prototypes = (masks[0].float().transpose(1, 2), masks[1].float()) if masks else (None, None)
        is_one_to_one = self.branches(one_to_one=one_to_one) is self.one_to_one
        return RawDetections(boxes.transpose(1, 2), scores, coefficients, prototypes, is_one_to_one=is_one_to_one)


class Prototypes(nn.Module):
    """Prototype masks at a quarter of the input's size; every mask is a linear combination of them."""

    def __init__(self, cv1: nn.Module, upsample: nn.Module, cv2: nn.Module, cv3: nn.Module) -> None:
        super().__init__()
        self.cv1, self.upsample, self.cv2, self.cv3 = cv1, upsample, cv2, cv3

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map the finest of the maps, (B, inputs, H / 8, W / 8), to (B, 32, H / 4, W / 4)."""
        return self.from_map(maps[0])

    def from_map(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H / 8, W / 8) to (B, 32, H / 4, W / 4)."""
        out: Tensor = self.cv3(self.cv2(self.upsample(self.cv1(x))))
        return out


class FusedPrototypes(Prototypes):
    """Prototypes of YOLO26, made from the sum of all maps."""

    def __init__(
        self,
        cv1: nn.Module,
        upsample: nn.Module,
        cv2: nn.Module,
        cv3: nn.Module,
        feat_refine: nn.ModuleList,
        feat_fuse: nn.Module,
    ) -> None:
        super().__init__(cv1, upsample, cv2, cv3)
        self.feat_refine, self.feat_fuse = feat_refine, feat_fuse

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map the maps, finest first, to (B, 32, H / 4, W / 4)."""
        total = maps[0]
        for refine, x in zip(self.feat_refine, maps[1:], strict=True):
            total = total + F.interpolate(refine(x), total.shape[2:], mode="nearest")
        return self.from_map(self.feat_fuse(total))


def _cells(branch: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Return a branch's output (B, channels, A) for the cells of all maps."""
    return torch.cat([layer(x).flatten(2) for layer, x in zip(branch, maps, strict=True)], dim=2)


def cell_centres(maps: Sequence[Tensor], map_strides: Sequence[int] = STRIDES) -> tuple[Tensor, Tensor]:
    """Return the centres of the cells of the maps, (2, A) in strides, and their strides (1, A)."""
    return centres_of_sizes([(x.shape[2], x.shape[3]) for x in maps], map_strides, maps[0].device)


def centres_of_sizes(
    sizes: Sequence[tuple[int, int]], map_strides: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return what `cell_centres` does, for maps of the given sizes (height, width)."""
    centres, strides = [], []
    for size, stride in zip(sizes, map_strides, strict=True):
        rows, columns = (torch.arange(side, device=device, dtype=torch.float32) + 0.5 for side in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, y.numel()), float(stride), device=device))
    return torch.cat(centres, dim=1), torch.cat(strides, dim=1)
