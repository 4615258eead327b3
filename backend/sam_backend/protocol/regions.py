"""The regions that a user drew as prompts: key points and rectangles, in percent of the image.

Source: requests of Label Studio 1.23.2's editor (web/libs/editor: mixins/Regions.js, regions/KeyPointRegion.jsx,
regions/RectRegion.jsx). Results with the same id are one region: with a `<Labels>` palette each prompt is two results,
and per-region controls (Choices, TextArea) add more.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from sam_backend.errors import BadRequestError, UnsupportedRegionError
from sam_backend.protocol.fields import shown
from sam_backend.protocol.typed_json import MISSING, Json, decoded, is_null

logger = logging.getLogger(__name__)

MAX_PERCENT = 1000.0  # absolute value; a rectangle may be drawn beyond the image's edge
MAX_SIDE = 1_000_000  # pixels
MAX_CONTEXT_BYTES = 1 << 20  # a prompt has about 350 bytes, and masks are not sent
KEYPOINT_TYPES = {"keypoint", "keypointlabels"}
RECTANGLE_TYPES = {"rectangle", "rectanglelabels"}
TEXT_TYPE = "textarea"


@dataclass(frozen=True)
class KeyPoint:
    """A click at (`x`, `y`) percent."""

    x: float
    y: float
    is_positive: bool


@dataclass(frozen=True)
class RotatedRectangle:
    """A rectangle in percent, rotated clockwise by `rotation` degrees around its corner (`x`, `y`)."""

    x: float
    y: float
    width: float
    height: float
    rotation: float


@dataclass(frozen=True)
class PromptRegion:
    """A region: a prompt of a click, or a rectangle that a task has already.

    `from_name` is its control tag, `labels_from_name` the `<Labels>` palette of its labels, if any. `original_size` is
    (height, width) in pixels of the image in the browser, None if the caller did not send it. `item_index` is the page
    of a multi-page item, None for a single image.
    """

    id: str
    shape: KeyPoint | RotatedRectangle
    labels: tuple[str, ...]
    from_name: str
    to_name: str
    labels_from_name: str | None = None
    original_size: tuple[int, int] | None = None
    item_index: int | None = None


Percent = Annotated[float, Meta(ge=-MAX_PERCENT, le=MAX_PERCENT)]
Pixels = Annotated[float, Meta(ge=1, le=MAX_SIDE, multiple_of=1)]
V = TypeVar("V")


class _Labels(Struct, gc=False):
    """The field of the labels has the name of the control tag, or `labels` with a palette."""

    labels: list[str] | None = None
    keypointlabels: list[str] | None = None
    rectanglelabels: list[str] | None = None

    def of(self, kind: str) -> tuple[str, ...]:
        own = getattr(self, kind, None)
        return tuple(self.labels or () if own is None else own)


class _KeyPointValue(_Labels, gc=False, kw_only=True):
    x: Percent
    y: Percent
    is_positive: bool | int | None = None


class _RectangleValue(_Labels, gc=False, kw_only=True):
    x: Percent
    y: Percent
    width: Percent
    height: Percent
    rotation: Annotated[float, Meta(ge=-36000, le=36000)] | None = None


class _Result(Struct, gc=False):
    """An item of `context.result`; the fields of `value` depend on `type`."""

    type: str
    id: str | int | None = None
    value: Raw = MISSING
    is_positive: bool | int | None = None
    from_name: str | None = None
    to_name: str | None = None
    original_width: Pixels | None = None
    original_height: Pixels | None = None
    item_index: Annotated[float, Meta(ge=0, le=1_000_000, multiple_of=1)] | None = None


def prompt_regions_from_json(results: Sequence[Any]) -> tuple[PromptRegion, ...]:
    """Return the prompts among results that are decoded already; see `prompt_regions_from_context`.

    Raises:
        BadRequestError: a result is malformed, or a number of a prompt is out of range.
    """
    return _prompt_regions(msgspec.json.encode(results), "result")


def prompt_regions_from_context(context: Raw) -> tuple[PromptRegion, ...]:
    """Return the prompts of a request's context, in the order in which they were drawn.

    Regions of other types are logged and left out.

    Raises:
        BadRequestError: the context is too large, a result is malformed, or a number of a prompt is out of range.
    """
    size = memoryview(context).nbytes
    if size > MAX_CONTEXT_BYTES:
        raise BadRequestError(f"params.context has {size} bytes, more than {MAX_CONTEXT_BYTES}")
    result = decoded(context, _Context, "params.context").result
    return () if is_null(result) else _prompt_regions(result, "params.context.result")


class _Context(Struct):
    result: Raw = MISSING


@dataclass(frozen=True)
class TypedText:
    """What a user typed into the `<TextArea>` called `from_name`."""

    text: str
    from_name: str


class _TextValue(Struct):
    text: str | list[str]


def typed_texts_from_context(context: Raw) -> tuple[TypedText, ...]:
    """Return the texts of a request's context, in its order; an item of a `<TextArea>` is a line.

    Source: a request of Label Studio 1.23.2's editor: {"type": "textarea", "value": {"text": ["red ellipse\\n"]}}.

    Raises:
        BadRequestError: a result is malformed.
    """
    if TEXT_TYPE.encode() not in bytes(context):
        return ()
    result = decoded(context, _Context, "params.context").result
    if is_null(result):
        return ()
    texts = []
    for position, one in enumerate(decoded(result, list[_Result], "params.context.result")):
        if one.type.lower() == TEXT_TYPE:
            where = f"params.context.result[{position}]"
            text = _value(one, _TextValue, where).text
            lines = text if isinstance(text, str) else "\n".join(text)
            texts.append(TypedText(lines, _required(one.from_name, f"{where}.from_name")))
    return tuple(texts)


def _prompt_regions(results: Json, field: str) -> tuple[PromptRegion, ...]:
    regions: dict[str, PromptRegion] = {}
    palettes: dict[str, tuple[str, tuple[str, ...]]] = {}
    kinds = set()
    for position, result in enumerate(decoded(results, list[_Result], field)):
        where = f"{field}[{position}]"
        kind = result.type.lower()
        kinds.add(kind)
        # the editor always sends an id, other callers may not
        region_id = f"#{position}" if result.id is None else str(result.id)
        if kind in KEYPOINT_TYPES | RECTANGLE_TYPES:
            regions.setdefault(region_id, _prompt_region(result, kind, region_id, where))
        elif kind == "labels":
            labels = _value(result, _Labels, where).of(kind)
            palettes[region_id] = (_required(result.from_name, f"{where}.from_name"), labels)
        else:
            logger.debug("%s: region of type %s ignored: not a prompt", where, shown(kind))
    if kinds - {TEXT_TYPE} and not regions:
        logger.warning("no prompts in the request: no key point or rectangle, only %s", ", ".join(sorted(kinds))[:200])
    return tuple(_with_palette(region, palettes.get(region.id)) for region in regions.values())


def _with_palette(region: PromptRegion, palette: tuple[str, tuple[str, ...]] | None) -> PromptRegion:
    if palette is None:
        return region
    from_name, labels = palette
    return replace(region, labels_from_name=from_name, labels=labels or region.labels)


def _prompt_region(result: _Result, kind: str, region_id: str, where: str) -> PromptRegion:
    shape: KeyPoint | RotatedRectangle
    value: _Labels
    if kind in KEYPOINT_TYPES:
        value = point = _value(result, _KeyPointValue, where)
        is_positive = point.is_positive if result.is_positive is None else result.is_positive
        if is_positive not in (None, 0, 1):
            raise BadRequestError(f"{where}.is_positive must be true or false, not {shown(is_positive)}")
        shape = KeyPoint(point.x, point.y, is_positive is None or bool(is_positive))
    else:
        value = box = _value(result, _RectangleValue, where)
        shape = RotatedRectangle(box.x, box.y, box.width, box.height, box.rotation or 0.0)
    return PromptRegion(
        id=region_id,
        shape=shape,
        labels=value.of(kind),
        from_name=_required(result.from_name, f"{where}.from_name"),
        to_name=_required(result.to_name, f"{where}.to_name"),
        original_size=_original_size(result),
        item_index=None if result.item_index is None else int(result.item_index),
    )


def _value(result: _Result, kind: type[V], where: str) -> V:
    try:
        return decoded(result.value if memoryview(result.value).nbytes else b"null", kind, f"{where}.value")
    except BadRequestError as error:
        raise UnsupportedRegionError(str(error)) from None


def _required(name: str | None, field: str) -> str:
    if name is None:
        raise BadRequestError(f"{field} must be a string, not None")
    return name


def _original_size(result: _Result) -> tuple[int, int] | None:
    if result.original_width is None or result.original_height is None:
        return None
    return int(result.original_height), int(result.original_width)
