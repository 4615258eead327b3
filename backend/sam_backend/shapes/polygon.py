"""A mask -> the values of polygon regions, in percent of the image.

Source: Label Studio's `<PolygonLabels>`. Its polygons have no holes.
"""

from dataclasses import dataclass
from typing import Any

from sam_backend.settings import Settings
from sam_model.masks.polygons import Outline
from sam_model.masks.simple_polygons import Parts, simple_polygons
from sam_model.types import Mask

REFERENCE_SIDE = 1000  # pixels


@dataclass(frozen=True)
class PolygonStyle:
    """How polygons follow masks.

    `tolerance` is the maximum deviation in pixels of an image with a long side of `REFERENCE_SIDE` pixels; it grows
    with the image. `parts` says what becomes of several parts and of holes, see `simple_polygons`.
    """

    tolerance: float = 1.0
    parts: Parts = "separate"


DEFAULT_STYLE = PolygonStyle()


def polygon_style(settings: Settings) -> PolygonStyle:
    """Return the style of the settings."""
    return PolygonStyle(settings.polygon_tolerance, settings.polygon_parts)


def polygon_values(mask: Mask, style: PolygonStyle = DEFAULT_STYLE) -> list[dict[str, Any]]:
    """Return polygons that do not intersect themselves, the largest first; none for an empty mask (H, W)."""
    tolerance = style.tolerance * max(mask.shape) / REFERENCE_SIDE
    outlines = simple_polygons(mask, tolerance, style.parts)
    return [{"points": _percent(outline, mask.shape), "closed": True} for outline in outlines]


def _percent(outline: Outline, size: tuple[int, ...]) -> list[list[float]]:
    height, width = size
    return [[100 * float(x) / width, 100 * float(y) / height] for x, y in outline]
