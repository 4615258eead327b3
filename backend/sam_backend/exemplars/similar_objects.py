"""The objects of an image that are like the examples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sam_backend.exemplars.engines import unlimited
from sam_backend.exemplars.example_set import ExampleSet
from sam_backend.exemplars.image_regions import RegionSource
from sam_model.automatic_segmentation import SegmentedObject
from sam_model.exemplars.further_regions import with_further_regions
from sam_model.exemplars.learned import scorer_of
from sam_model.exemplars.matches import Match, exact_masks, match_regions
from sam_model.exemplars.similarity import Scores
from sam_model.interfaces import Segmenter
from sam_model.types import Image, Mask

SEARCH_VERSION = 2  # to be raised when the same examples find other objects among the same proposals


class SimilarObjects:
    """Finds objects like the examples. Threads may share it."""

    def __init__(self, examples: ExampleSet, source: RegionSource, segmenter: Segmenter[Any]) -> None:
        """Choose similarity or a classifier for each label, and search with `source`; `segmenter` makes the masks."""
        from sam_model.classical.segmenter import ClassicalSegmenter  # with SciPy, which a service starts without

        self._source, self._segmenter = source, segmenter
        self._has_further_regions = isinstance(unlimited(segmenter), ClassicalSegmenter)
        self.scorers = {label: scorer_of(examples.of_label(label)) for label in examples.positive}

    def best_scores(self) -> list[float]:
        """Return the highest score of each image in the project's index, of any label."""
        if not self.scorers:
            return []

        def best(rows: Any) -> Scores:
            return np.asarray(np.stack([scorer(rows) for scorer in self.scorers.values()]).max(axis=0), np.float32)

        return self._source.best_scores(best)

    def find(
        self, digest: str, image: Image, embed: Callable[[], Any], thresholds: Mapping[str, float], limit: int
    ) -> Iterator[tuple[Match, Mask]]:
        """Yield at most `limit` objects with their masks (H, W), highest-scoring first.

        Args:
            digest: SHA-256 of the image file's bytes, in hexadecimal.
            image: RGB uint8 (H, W, 3).
            embed: returns its embedding by the segmenter.
            thresholds: minimum score of each label that is searched.
            limit: maximum number of objects.
        """
        scorers = {label: scorer for label, scorer in self.scorers.items() if label in thresholds}
        if not scorers:
            return
        found = self._source.regions_of(digest, image, embed)
        regions: Sequence[SegmentedObject] = found.regions
        descriptors = found.descriptors
        if self._has_further_regions:
            regions, descriptors = with_further_regions(
                self._segmenter, self._source.describer, image, embed(), regions, descriptors, scorers
            )
        matches = match_regions(regions, descriptors, scorers, thresholds)[:limit]
        if matches:
            yield from exact_masks(self._segmenter, embed(), regions, matches)
