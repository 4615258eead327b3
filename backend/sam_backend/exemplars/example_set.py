"""The examples of a run: descriptors of annotated regions by label, and of what is not meant."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sam_model.exemplars.descriptors import Descriptors
from sam_model.exemplars.similarity import Examples

MAX_LISTED = 20  # annotation ids in a message


@dataclass(frozen=True)
class Thumbnail:
    """A small image of an example."""

    task: int
    label: str
    jpeg: bytes


@dataclass(frozen=True, eq=False)
class ExampleSet:
    """All examples of a project. It must survive pickling (Ray).

    `rejected` are the regions that a run predicted with a label and an annotator did not keep.
    """

    key: str  # of the segmenter and the engine, see `regions_key`
    engine: str
    positive: Mapping[str, Descriptors]  # label -> (P, D)
    rejected: Mapping[str, Descriptors]
    background: Descriptors  # (N, D)
    annotations: tuple[int, ...]  # ids of the annotations that have the examples
    thumbnails: tuple[Thumbnail, ...] = ()

    def of_label(self, label: str) -> Examples:
        """Return the examples of a label: those of other labels are negative ones."""
        others = [rows for other, rows in self.positive.items() if other != label]
        rejected = [self.rejected[label]] if label in self.rejected else []
        return Examples(self.positive[label], np.concatenate([*rejected, *others, self.background]))

    @property
    def digest(self) -> str:
        """A text that changes with any example."""
        found = hashlib.sha256(self.key.encode())
        for name, rows in (*sorted(self.positive.items()), *sorted(self.rejected.items()), ("", self.background)):
            found.update(f"{name} {rows.shape}".encode() + rows.astype(np.float16).tobytes())
        return found.hexdigest()

    def text(self) -> str:
        """Return the examples' number and origin, for people."""
        counts = ", ".join(f"{len(rows)} {label or 'without label'}" for label, rows in sorted(self.positive.items()))
        ids = ", ".join(map(str, self.annotations[:MAX_LISTED]))
        more = f" and {len(self.annotations) - MAX_LISTED} more" if len(self.annotations) > MAX_LISTED else ""
        return f"examples ({self.engine}): {counts}, from the annotations {ids}{more}"
