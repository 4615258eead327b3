"""The regions of an interactive context: what a person clicked and dragged, in percent of the image.

Source: what Label Studio 1.23.2's editor sends (web/libs/editor: mixins/Regions.js, regions/KeyPointRegion.jsx,
regions/RectRegion.jsx). With a `<Labels>` palette each prompt is two results with one id, and per-region controls
(Choices, TextArea) add more: results are one region when their ids are the same.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

from sam_backend.errors import BadRequestError, UnsupportedRegionError
from sam_backend.protocol.fields import listing, mapping, number, shown, text, whole_number

logger = logging.getLogger(__name__)

FARTHEST_PERCENT = 1000.0  # beyond that a coordinate is not a slip over the edge but nonsense
LONGEST_SIDE = 1_000_000  # pixels
KEYPOINT_TYPES = {"keypoint", "keypointlabels"}
RECTANGLE_TYPES = {"rectangle", "rectanglelabels"}


@dataclass(frozen=True)
class KeyPoint:
    """A click at (`x`, `y`) percent."""

    x: float
    y: float
    is_positive: bool


@dataclass(frozen=True)
class RotatedRectangle:
    """A rectangle in percent, turned clockwise by `rotation` degrees around its corner (`x`, `y`)."""

    x: float
    y: float
    width: float
    height: float
    rotation: float


@dataclass(frozen=True)
class PromptRegion:
    """One prompt of the context.

    `from_name` is the control tag that drew it, `labels_from_name` the `<Labels>` palette that named it, if any.
    `original_size` is (height, width) in pixels as the browser shows the image, None where the caller left it out.
    `item_index` is the page of a multi-page item, None for a single image.
    """

    id: str
    shape: KeyPoint | RotatedRectangle
    labels: tuple[str, ...]
    from_name: str
    to_name: str
    labels_from_name: str | None = None
    original_size: tuple[int, int] | None = None
    item_index: int | None = None


def prompt_regions_from_json(results: list[Any]) -> tuple[PromptRegion, ...]:
    """The prompts among the results, in the order they were drawn; other kinds of regions are left out, and logged.

    Raises:
        BadRequestError: a result that is none, or a prompt with an impossible number.
    """
    regions: dict[str, PromptRegion] = {}
    palettes: dict[str, tuple[str, tuple[str, ...]]] = {}
    for position, item in enumerate(results):
        where = f"params.context.result[{position}]"
        result = mapping(item, where)
        kind = text(result.get("type"), f"{where}.type").lower()
        region_id = _region_id(result, position)
        if kind in KEYPOINT_TYPES | RECTANGLE_TYPES:
            region = _prompt_region(result, kind, region_id, where)
            regions.setdefault(region_id, region)
        elif kind == "labels":
            value = mapping(result.get("value"), f"{where}.value")
            palettes[region_id] = (
                text(result.get("from_name"), f"{where}.from_name"),
                _labels(value, kind, where),
            )
        else:
            logger.debug("%s: a region of type %s is no prompt", where, shown(kind))
    if results and not regions:
        kinds = sorted({str(result.get("type")) for result in results})
        logger.warning("no key point and no rectangle among the regions sent, only %s", ", ".join(kinds)[:200])
    return tuple(_with_palette(region, palettes.get(region.id)) for region in regions.values())


def _region_id(result: dict[str, Any], position: int) -> str:
    """The editor always sends an id; other callers may not, and then every result is a region of its own."""
    region_id = result.get("id")
    if region_id is None:
        return f"#{position}"
    return str(region_id)


def _with_palette(region: PromptRegion, palette: tuple[str, tuple[str, ...]] | None) -> PromptRegion:
    if palette is None:
        return region
    from_name, labels = palette
    return replace(region, labels_from_name=from_name, labels=labels or region.labels)


def _prompt_region(result: dict[str, Any], kind: str, region_id: str, where: str) -> PromptRegion:
    value = mapping(result.get("value"), f"{where}.value")
    is_point = kind in KEYPOINT_TYPES
    return PromptRegion(
        id=region_id,
        shape=_key_point(result, value, where) if is_point else _rectangle(value, where),
        labels=_labels(value, kind, where),
        from_name=text(result.get("from_name"), f"{where}.from_name"),
        to_name=text(result.get("to_name"), f"{where}.to_name"),
        original_size=_original_size(result, where),
        item_index=_item_index(result, where),
    )


def _percent(value: dict[str, Any], name: str, where: str) -> float:
    try:
        return number(value.get(name), f"{where}.value.{name}", -FARTHEST_PERCENT, FARTHEST_PERCENT)
    except BadRequestError as error:
        raise UnsupportedRegionError(str(error)) from None


def _key_point(result: dict[str, Any], value: dict[str, Any], where: str) -> KeyPoint:
    is_positive = result.get("is_positive", value.get("is_positive", True))
    if is_positive is None:
        is_positive = True
    if not isinstance(is_positive, bool | int) or is_positive not in (0, 1):
        raise BadRequestError(f"{where}.is_positive must be true or false, not {shown(is_positive)}")
    return KeyPoint(_percent(value, "x", where), _percent(value, "y", where), bool(is_positive))


def _rectangle(value: dict[str, Any], where: str) -> RotatedRectangle:
    return RotatedRectangle(
        x=_percent(value, "x", where),
        y=_percent(value, "y", where),
        width=_percent(value, "width", where),
        height=_percent(value, "height", where),
        rotation=number(value.get("rotation") or 0, f"{where}.value.rotation", -36000, 36000),
    )


def _labels(value: dict[str, Any], kind: str, where: str) -> tuple[str, ...]:
    """The labels stand under the tag's own name, and under `labels` with a palette."""
    name = kind if value.get(kind) is not None else "labels"
    labels = value.get(name)
    if labels is None:
        return ()
    return tuple(text(label, f"{where}.value.{name}") for label in listing(labels, f"{where}.value.{name}"))


def _original_size(result: dict[str, Any], where: str) -> tuple[int, int] | None:
    if result.get("original_width") is None or result.get("original_height") is None:
        return None
    height, width = (
        whole_number(result[name], f"{where}.{name}", 1, LONGEST_SIDE) for name in ("original_height", "original_width")
    )
    return height, width


def _item_index(result: dict[str, Any], where: str) -> int | None:
    if result.get("item_index") is None:
        return None
    return whole_number(result["item_index"], f"{where}.item_index", 0, 1_000_000)
