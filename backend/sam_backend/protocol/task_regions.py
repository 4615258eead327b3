"""The regions that a task has already: those of its drafts and annotations, which Label Studio sends with each click.

Source: label-studio 1.23.2, data_export/serializers.py. Results with the same id are one region: with a `<Labels>`
palette each region is two results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

from msgspec import Meta, Raw, Struct

from sam_backend.errors import BadRequestError
from sam_backend.protocol.regions import MAX_SIDE, Percent
from sam_backend.protocol.typed_json import MISSING, decoded, is_null

MAX_REGIONS = 1000  # of one task


class Vertex(Struct, gc=False):
    """A vertex of a vector region, in percent."""

    x: Percent
    y: Percent


class RegionValue(Struct, gc=False):
    """The value of a region; the fields depend on its type."""

    rle: list[int] | None = None
    imageDataURL: str | None = None  # noqa: N815  # Label Studio's name
    points: list[tuple[Percent, Percent]] | None = None
    vertices: list[Vertex] | None = None
    x: Percent = 0.0
    y: Percent = 0.0
    width: Percent | None = None
    height: Percent | None = None
    radiusX: Percent | None = None  # noqa: N815  # Label Studio's name
    radiusY: Percent | None = None  # noqa: N815  # Label Studio's name
    rotation: Annotated[float, Meta(ge=-36000, le=36000)] = 0.0


class _Labels(Struct, gc=False):
    labels: list[str] | None = None
    brushlabels: list[str] | None = None
    bitmasklabels: list[str] | None = None
    polygonlabels: list[str] | None = None
    rectanglelabels: list[str] | None = None
    ellipselabels: list[str] | None = None
    vectorlabels: list[str] | None = None


class _Result(Struct, gc=False):
    type: str
    id: str
    to_name: str = ""
    original_width: int = 0
    original_height: int = 0
    item_index: int | None = None
    value: Raw = MISSING


class _Stored(Struct, gc=False):
    result: list[_Result] = []
    was_cancelled: bool = False


class _TaskBody(Struct, gc=False):
    drafts: Raw = MISSING
    annotations: Raw = MISSING


class _Body(Struct):
    tasks: list[_TaskBody]


@dataclass(frozen=True)
class TaskSource:
    """A task in the body of a request, whose drafts and annotations are read only if they are needed."""

    body: bytes | bytearray
    position: int

    def stored(self) -> tuple[Raw, ...]:
        """Return the lists of the task's drafts and annotations, as JSON.

        Raises:
            BadRequestError: the body is malformed.
        """
        task = decoded(self.body, _Body).tasks[self.position]
        return task.drafts, task.annotations


@dataclass(frozen=True)
class DrawnRegion:
    """A region of a task. `size` is (height, width) of its image; `value` is JSON, see `RegionValue`."""

    id: str
    kind: str  # its tag's XML name in lower case without `labels`, such as `polygon`
    labels: frozenset[str]
    to_name: str
    item_index: int | None
    size: tuple[int, int]
    value: Raw


def drawn_regions(stored: Sequence[Raw]) -> Iterator[DrawnRegion]:
    """Yield the regions of drafts and annotations, the first ones if the same region is in several.

    What cannot be read is left out: a click does not depend on it.

    Args:
        stored: lists of drafts or annotations, as JSON.
    """
    labels: dict[str, set[str]] = {}
    found: dict[str, _Result] = {}
    for result in chain.from_iterable(map(_results, stored)):
        labels.setdefault(result.id, set()).update(_labels(result.value))
        if result.type.removesuffix("labels") not in ("", "keypoint") and result.id not in found:
            found[result.id] = result
        if len(found) >= MAX_REGIONS:
            break
    for result in found.values():
        size = (result.original_height, result.original_width)
        if all(0 < side <= MAX_SIDE for side in size):
            kind = result.type.removesuffix("labels")
            known = frozenset(labels[result.id])
            yield DrawnRegion(result.id, kind, known, result.to_name, result.item_index, size, result.value)


def _results(stored: Raw) -> list[_Result]:
    if is_null(stored):
        return []
    try:
        return [result for one in decoded(stored, list[_Stored]) if not one.was_cancelled for result in one.result]
    except BadRequestError:
        return []


def _labels(value: Raw) -> set[str]:
    try:
        found = decoded(value, _Labels)
    except BadRequestError:
        return set()
    lists = (getattr(found, name) for name in found.__struct_fields__)
    return {label for names in lists if names for label in names}
