"""A YOLO network: layers that read earlier layers' maps, and a head."""

from collections.abc import Sequence

from torch import Tensor, nn

from sam_model.yolo.blocks import Conv
from sam_model.yolo.heads import Head, RawDetections

IMAGE = -1  # as the source of a layer: the image itself


class Yolo(nn.Module):
    """A network of any of the YOLO families.

    The keys `model.0`, `model.1`, ... are those of the official checkpoints.
    """

    def __init__(self, layers: Sequence[nn.Module], sources: Sequence[tuple[int, ...]], head: Head) -> None:
        """Take the layers.

        Args:
            layers: without the head.
            sources: for each layer and the head, the indices of the layers whose maps it reads; `IMAGE` for the image.
            head: the last layer.
        """
        super().__init__()
        self.model = nn.ModuleList([*layers, head])
        self.sources = tuple(sources)
        self._last_uses = {source: index for index, sources in enumerate(self.sources) for source in sources}

    @property
    def head(self) -> Head:
        """The last layer."""
        head = self.model[-1]
        assert isinstance(head, Head)
        return head

    @property
    def has_masks(self) -> bool:
        """Return whether the network finds masks besides boxes."""
        return self.head.proto is not None

    @property
    def first_channels(self) -> int:
        """The number of channels of the first layer, which differs between most sizes of a family."""
        first = next(module for module in self.model.modules() if isinstance(module, nn.Conv2d))
        return first.out_channels

    def forward(self, x: Tensor, *, one_to_one: bool = False) -> RawDetections:
        """Run the network on images (B, 3, H, W), RGB in 0..1, H and W multiples of 32.

        With `one_to_one`, the head's branches for one cell per object are used, if there are any.
        """
        size = (x.shape[2], x.shape[3])
        return self.head.detections(self.outputs(x, one_to_one=one_to_one), size, one_to_one=one_to_one)

    def outputs(self, x: Tensor, *, one_to_one: bool = False) -> tuple[Tensor, ...]:
        """Return the outputs of the head for images (B, 3, H, W), of which `Head.detections` makes detections."""
        maps = {IMAGE: x}
        for index, (layer, sources) in enumerate(zip(self.model[:-1], self.sources[:-1], strict=True)):
            inputs = [maps[source] for source in sources]
            for source in set(sources):
                if self._last_uses[source] == index:
                    del maps[source]
            maps[index] = layer(inputs[0] if len(inputs) == 1 else inputs)
        found: tuple[Tensor, ...] = self.head([maps[source] for source in self.sources[-1]], one_to_one=one_to_one)
        return found

    def fuse(self) -> None:
        """Fuse every norm into its convolution; for inference only."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fuse()
