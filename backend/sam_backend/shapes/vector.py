"""A mask -> the values of vector regions: the polygons of the mask as closed paths. Source: `<VectorLabels>`."""

from typing import Any

from sam_backend.shapes.polygon import DEFAULT_STYLE, PolygonStyle, polygon_values
from sam_model.types import Mask


def vector_values(mask: Mask, style: PolygonStyle = DEFAULT_STYLE) -> list[dict[str, Any]]:
    """Return a closed path of straight lines for each polygon of a mask (H, W); each vertex names the one before."""
    return [{"vertices": _vertices(value["points"]), "closed": True} for value in polygon_values(mask, style)]


def _vertices(points: list[list[float]]) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "prevPointId": str((number - 1) % len(points)), "x": x, "y": y, "isBezier": False}
        for number, (x, y) in enumerate(points)
    ]
