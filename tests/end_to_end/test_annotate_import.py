"""Files of `annotate`, imported into a real Label Studio and exported again: the masks stay the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.commands.main import main
from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.masks.coco_rle import run_lengths_from_coco

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

PHOTOS = Path("examples/photos")


def test_label_studio_imports_the_tasks_with_their_masks(services: Any, tmp_path: Path) -> None:
    options = ["--detector", "classical", "--model", "classical", "--format", "coco", "--format", "label-studio"]
    assert main(["annotate", str(PHOTOS), *options, "--out", str(tmp_path)]) == 0
    coco = json.loads((tmp_path / "coco.json").read_text())

    project = create_project(services.api, "annotate", (tmp_path / "label-config.xml").read_text())
    import_files(services.api, project.id, [tmp_path / "label-studio.json"])
    tasks = tasks_of_project(services.api, project.id)
    stored = services.api.call("GET", "/api/predictions/", query={"project": project.id})

    photos = sorted(path.name for path in PHOTOS.glob("*.jpg"))
    assert [task.data["image"] for task in tasks] == [f"/data/local-files/?d=photos/{name}" for name in photos]
    assert [image["file_name"] for image in coco["images"]] == photos
    predictions = {prediction["task"]: prediction for prediction in stored}
    assert len(stored) == len(photos)
    assert {prediction["model_version"] for prediction in stored} == {"classical+classical"}
    for task, image in zip(tasks, coco["images"], strict=True):
        expected = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
        regions = predictions[task.id]["result"]
        assert len(regions) == len(expected)
        for region, one in zip(regions, expected, strict=True):
            height, width = image["height"], image["width"]
            assert (region["original_height"], region["original_width"]) == (height, width)
            assert region["value"]["brushlabels"] == [coco["categories"][one["category_id"] - 1]["name"]]
            mask = decode_mask(region["value"]["rle"], height, width)
            assert np.array_equal(mask, run_lengths_from_coco(one["segmentation"]).mask)
    assert len(coco["annotations"]) >= 8  # the astronaut's face and seven on coins
