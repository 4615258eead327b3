"""Tables of results: one row per object, as dictionaries, data frame or CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from sam_model.scripting.boxes import Boxes
from sam_model.scripting.masks import Masks

Row = dict[str, Any]


def object_rows(
    boxes: Boxes | None, masks: Masks | None, names: dict[int, str], normalize: bool, decimals: int
) -> list[Row]:
    """Return name, class, confidence, box and outline of each object; see `Results.summary`."""
    if boxes is None:
        return []
    arrays = boxes.numpy()
    corners = arrays.xyxyn if normalize else arrays.xyxy
    outlines = None if masks is None else masks.xyn if normalize else masks.xy
    rows = []
    for index in range(len(arrays)):
        class_id = int(arrays.cls[index])
        row: Row = {
            "name": names[class_id],
            "class": class_id,
            "confidence": round(float(arrays.conf[index]), decimals),
            "box": {
                side: round(float(edge), decimals)
                for side, edge in zip(("x1", "y1", "x2", "y2"), corners[index], strict=True)
            },
        }
        if arrays.is_track:
            row["track_id"] = int(arrays.id[index])
        if outlines is not None:
            places = outlines[index].astype(np.float64).round(decimals)
            row["segments"] = {"x": places[:, 0].tolist(), "y": places[:, 1].tolist()}
        rows.append(row)
    return rows


def data_frame(rows: Sequence[Row]) -> Any:
    """Return rows as a Polars data frame.

    Raises:
        ImportError: Polars is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise ImportError(
            "to_df needs Polars, which is not installed; run `pip install polars`, or use summary(), to_csv() or "
            "to_json()"
        ) from error
    return polars.DataFrame(rows)


def csv_table(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header; dictionaries are written as Python literals."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
