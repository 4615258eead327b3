"""The regions of an image with their descriptors: read from the project's index, or computed and added to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sam_backend.exemplars.engines import unlimited
from sam_backend.exemplars.index import ProjectIndex
from sam_model.automatic_segmentation import SegmentedObject
from sam_model.exemplars.descriptors import Describer, Descriptors
from sam_model.exemplars.learned import Scorer
from sam_model.exemplars.proposals import propose_detected, propose_regions
from sam_model.interfaces import Detector, Segmenter
from sam_model.types import Image

PROPOSALS_VERSION = 1  # to be raised when the same segmenter proposes other regions


@dataclass(frozen=True, eq=False)
class ImageRegions:
    """Regions that may be an object, and their descriptors (N, D)."""

    regions: list[SegmentedObject]
    descriptors: Descriptors


class RegionSource:
    """Proposes and describes the regions of images. Threads may share it."""

    def __init__(
        self,
        segmenter: Segmenter[Any],
        describer: Describer,
        index: ProjectIndex | None = None,
        detector: Detector | None = None,
    ) -> None:
        """Use a segmenter and an engine; `index` keeps what they find, the boxes of a `detector` are the proposals."""
        self._segmenter, self.describer, self._index = unlimited(segmenter), describer, index
        self._detector = detector

    def regions_of(self, digest: str, image: Image, embed: Callable[[], Any]) -> ImageRegions:
        """Return the regions of an RGB uint8 image (H, W, 3).

        Args:
            digest: SHA-256 of the image file's bytes, in hexadecimal.
            image: of that file.
            embed: returns its embedding by the segmenter.
        """
        known = self._index.read(digest) if self._index is not None else None
        if known is not None:
            return ImageRegions(*known)
        if self._detector is None:
            regions = propose_regions(self._segmenter, image, embed)
        else:
            regions = propose_detected(self._detector, self._segmenter, image, embed)
        descriptors = self.describe(image, embed, regions)
        if self._index is not None:
            self._index.add(digest, regions, descriptors)
        return ImageRegions(regions, descriptors)

    def is_indexed(self, digest: str) -> bool:
        """Return whether the index has an image."""
        return self._index is not None and digest in self._index

    def best_scores(self, scorer: Scorer) -> list[float]:
        """Return the highest score of each indexed image's regions."""
        return [] if self._index is None else list(self._index.best_scores(scorer).values())

    def describe(self, image: Image, embed: Callable[[], Any], regions: list[SegmentedObject]) -> Descriptors:
        """Return the descriptors (N, D) of regions of an image."""
        masks = [one.run_lengths.mask for one in regions]
        return self.describer.describe(image, embed() if self.describer.name == "sam" else None, masks)


def regions_key(segmenter: Segmenter[Any], describer: Describer, detector: str = "") -> str:
    """Return a text that identifies what proposes and describes: equal keys give equal regions and descriptors.

    `detector` identifies the weights of the detector of the proposals, if there is one.
    """
    return f"{PROPOSALS_VERSION}-{segmenter.fingerprint}-{describer.fingerprint}{detector and '-' + detector}"
