"""The tasks for Label Studio, judged by its own SDK."""

import json
from pathlib import Path

import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface

from sam_backend.export.prediction_file import (
    image_url,
    label_studio_file,
    labeling_config_for,
    local_files_prefix,
)
from sam_backend.protocol.labeling_config import SHAPES, LabelingConfig
from sam_backend.shapes.targets import PromptTags, click_target
from sam_model.annotation.annotated_image import AnnotatedImage, AnnotatedObject
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Mask

CLASSES = ("cat", 'a "dog" & <co>')
HEIGHT, WIDTH = 30, 50


def ring() -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, 10:40] = True
    mask[10:20, 20:30] = False
    return mask


def annotated(*class_names: str, name: str = "a.jpg", score: float = 0.75) -> AnnotatedImage:
    lengths = run_lengths_from_mask(ring())
    objects = [AnnotatedObject(class_name, score, (10, 5, 40, 25), lengths) for class_name in class_names]
    return AnnotatedImage(name, (HEIGHT, WIDTH), tuple(objects))


@pytest.fixture
def tasks(tmp_path: Path) -> list[dict]:
    """Two objects in a.jpg, nothing in b.jpg."""
    with label_studio_file(tmp_path / "tasks.json", CLASSES, "https://photos.example/", "yolo+sam") as add:
        add(annotated(*CLASSES))
        add(annotated(name="b.jpg"))
    return json.loads((tmp_path / "tasks.json").read_bytes())


def test_the_sdk_finds_nothing_wrong(tasks: list[dict]) -> None:
    interface = LabelInterface(labeling_config_for(CLASSES))

    for task in tasks:
        for prediction in task["predictions"]:
            assert interface.validate_prediction(prediction, return_errors=True) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_the_regions_of_each_shape_fit_the_labeling_config(tmp_path: Path, shape: str) -> None:
    with label_studio_file(tmp_path / "tasks.json", CLASSES, "", "sam", shape) as add:
        add(annotated(*CLASSES))
    (task,) = json.loads((tmp_path / "tasks.json").read_bytes())
    config = labeling_config_for(CLASSES, shape)

    (prediction,) = task["predictions"]
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    assert len(prediction["result"]) == 2
    assert click_target(LabelingConfig.from_xml(config), "image", PromptTags((CLASSES[0],))).shape == shape


def test_every_task_has_its_picture_and_one_prediction(tasks: list[dict]) -> None:
    assert [task["data"] for task in tasks] == [
        {"image": "https://photos.example/a.jpg"},
        {"image": "https://photos.example/b.jpg"},
    ]
    assert [task["predictions"][0]["model_version"] for task in tasks] == ["yolo+sam", "yolo+sam"]
    assert [task["predictions"][0]["score"] for task in tasks] == [0.75, 0.0]
    assert tasks[1]["predictions"][0]["result"] == []


def test_a_region_is_the_mask_with_its_hole(tasks: list[dict]) -> None:
    regions = tasks[0]["predictions"][0]["result"]

    assert [region["value"]["brushlabels"] for region in regions] == [[name] for name in CLASSES]
    assert len({region["id"] for region in regions}) == 2
    for region in regions:
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
        alpha = decode_rle(region["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)[..., 3]
        assert np.array_equal(alpha > 0, ring())


def test_a_file_without_tasks_is_an_empty_list(tmp_path: Path) -> None:
    with label_studio_file(tmp_path / "tasks.json", CLASSES, "", "none"):
        pass

    assert json.loads((tmp_path / "tasks.json").read_bytes()) == []


def test_more_tasks_than_label_studio_takes_at_once_go_into_several_files(tmp_path: Path) -> None:
    def write(pictures: int) -> list[list[str]]:
        with label_studio_file(tmp_path / "tasks.json", CLASSES, "", "sam", max_bytes=2000) as add:
            for number in range(pictures):
                add(annotated("cat", name=f"{number}.jpg"))
        names = ["tasks.json", "tasks-2.json", "tasks-3.json", "tasks-4.json"]
        files = [tmp_path / name for name in names if (tmp_path / name).exists()]
        assert all(file.stat().st_size <= 2010 for file in files)
        return [[task["data"]["image"] for task in json.loads(file.read_bytes())] for file in files]

    many = write(5)
    assert len(many) > 1
    assert [name for file in many for name in file] == [f"{number}.jpg" for number in range(5)]
    assert write(1) == [["0.jpg"]]  # nothing is left of the run before


def test_the_labeling_config_is_one_that_the_backend_answers() -> None:
    config = LabelingConfig.from_xml(labeling_config_for(CLASSES))

    tags = click_target(config, "image", PromptTags((CLASSES[1],))).tags
    assert tags.mask.name == "mask"
    assert tags.mask.labels == CLASSES
    assert {control.kind for control in config.controls} == {"brushlabels", "keypointlabels", "rectanglelabels"}


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("/data/local-files/?d=photos/", "/data/local-files/?d=photos/sub/b%20c%2Bd%2520%C3%A9%26.jpg"),
        ("https://photos.example/", "https://photos.example/sub/b%20c%2Bd%2520%C3%A9%26.jpg"),
        ("s3://bucket/", "s3://bucket/sub/b c+d%20é&.jpg"),
        ("", "sub/b%20c%2Bd%2520%C3%A9%26.jpg"),
    ],
)
def test_special_characters_are_written_as_the_address_needs_them(prefix: str, address: str) -> None:
    assert image_url(prefix, "sub/b c+d%20é&.jpg") == address


def test_local_files_are_named_from_the_folder_above() -> None:
    assert local_files_prefix(Path("/home/me/my photos")) == "/data/local-files/?d=my%20photos/"
    assert local_files_prefix(Path("/")) == "/data/local-files/?d="
