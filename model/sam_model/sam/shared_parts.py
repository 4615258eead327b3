"""What the mask decoder computes once for all prompts of an image, kept with the image's embedding."""

import threading
from collections.abc import Callable

import torch

from sam_model.sam.two_way_transformer import ImageParts


class SharedParts:
    """The result of a function that is called for the first prompt, and again after `drop`. Threads may share it."""

    def __init__(self) -> None:
        self._parts: ImageParts = ()
        self._lock = threading.Lock()

    def get(self, device: torch.device, compute: Callable[[], ImageParts]) -> ImageParts:
        """Return the parts on a device; one thread calls `compute` if they are not there, and the others wait."""
        with self._lock:
            parts = self._parts
            if not parts or parts[0].device != device:
                self._parts = parts = compute()
            return parts

    def drop(self) -> None:
        """Free the memory once the prompts are answered that are being decoded; wait for no thread."""
        self._parts = ()

    @property
    def nbytes(self) -> int:
        """The memory of the parts, in bytes."""
        return sum(part.nbytes for part in self._parts)
