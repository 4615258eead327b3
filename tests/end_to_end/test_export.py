"""Annotations exported from a real Label Studio, imported again and exported again: the masks stay the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from tests.end_to_end.conftest import Services

from sam_backend.commands.main import main
from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.protocol.labeling_config import ControlTag
from sam_backend.shapes.regions import results_from_mask
from sam_backend.shapes.targets import MaskTags, RegionTarget

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

CONFIG = (
    '<View><Image name="image" value="$image"/>'
    + "".join(
        f'<{tag}Labels name="{tag.lower()}" toName="image"><Label value="Cat"/></{tag}Labels>'
        for tag in ("Brush", "Bitmask", "Polygon", "Rectangle")
    )
    + "</View>"
)
PHOTOS = [Path(f"examples/photos/{name}.jpg") for name in ("astronaut", "coins")]


def results_of(mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return one region of each kind for a mask."""
    found = []
    for kind in ("brush", "bitmask", "polygon", "rectangle"):
        tag = ControlTag(f"{kind}labels", kind, ("image",), ("Cat",))
        target = RegionTarget(kind, MaskTags(tag), "image", ("Cat",))
        found += results_from_mask(mask, target, iter([f"{kind}-0", f"{kind}-1"]), 1.0)
    return json.loads(json.dumps(found, default=lambda array: array.tolist()))  # type: ignore[no-any-return]


def exported_masks(project: int, out: Path) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Return the exported mask of each region, by image and number."""
    assert main(["export", "--project", str(project), "--format", "png", "--out", str(out), "--json"]) == 0
    found = {}
    for line in (out / "objects.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with (
            PIL.Image.open(out / "masks" / entry["mask"]) as image,
            PIL.Image.open(out / "images" / entry["image"]) as its,
        ):
            assert image.size == its.size
            found[entry["image"].partition("-")[2], entry["region"]] = np.asarray(image) == 255
    return found


def annotate(api: LabelStudioClient, task: int, mask: NDArray[np.bool_]) -> None:
    api.call("POST", f"/api/tasks/{task}/annotations/", {"result": results_of(mask), "lead_time": 12.5})


def test_export_import_export_gives_equal_masks(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", services.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", services.token)
    first = create_project(services.api, "Export", CONFIG).id
    import_files(services.api, first, PHOTOS)
    for task, photo in zip(tasks_of_project(services.api, first), PHOTOS, strict=True):
        with PIL.Image.open(photo) as image:
            y, x = np.mgrid[: image.height, : image.width]
        annotate(services.api, task.id, (np.hypot(x - 120, y - 90) < 60) | (np.hypot(x - 200, y - 190) < 30))

    masks = exported_masks(first, tmp_path / "first")
    command = ["export", "--project", str(first), "--format", "label-studio", "--out", str(tmp_path / "tasks")]
    assert main([*command, "--images", "none"]) == 0
    second = create_project(services.api, "Imported", (tmp_path / "tasks" / "label-config.xml").read_text()).id
    import_files(services.api, second, [tmp_path / "tasks" / "tasks.json"])
    again = exported_masks(second, tmp_path / "second")

    assert len(masks) == 2 * 4 + 2  # a polygon for each of the two parts
    assert again.keys() == masks.keys()
    assert all(np.array_equal(again[name], mask) for name, mask in masks.items())
