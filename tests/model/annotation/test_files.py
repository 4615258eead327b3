"""The files of a run as others read them: pycocotools, a YOLO trainer's way of painting, a person's eye."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from sam_model.annotation.annotated_image import AnnotatedImage, AnnotatedObject
from sam_model.annotation.coco import CocoSegmentation, coco_file
from sam_model.annotation.contact_sheet import MAX_IMAGES, ContactSheet
from sam_model.annotation.label_outlines import paint_outlines
from sam_model.annotation.yolo_labels import check_label_names, dataset_text, label_path, label_text
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.masks.overlay import mask_colour
from sam_model.types import Mask

CLASSES = ("cat", "dog")
HEIGHT, WIDTH = 90, 150
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
RING = np.asarray((np.hypot(X - 50, Y - 45) < 40) & (np.hypot(X - 45, Y - 45) > 20))
TWO_PARTS = np.asarray((np.hypot(X - 30, Y - 30) < 25) | ((X > 70) & (X < 140) & (Y > 20) & (Y < 80)))


def annotated(*masks: Mask, name: str = "a/b.jpg") -> AnnotatedImage:
    """An image in which the masks are a cat, a dog, a cat and so on."""
    objects = [
        AnnotatedObject(CLASSES[number % 2], 0.9 - number / 10, (1, 2, 3, 4), run_lengths_from_mask(mask))
        for number, mask in enumerate(masks)
    ]
    return AnnotatedImage(name, (HEIGHT, WIDTH), tuple(objects))


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
@pytest.mark.parametrize(("segmentation", "least_iou"), [("rle", 1.0), ("polygon", 0.98)])
def test_pycocotools_reads_the_file_and_finds_the_masks_with_their_holes(
    tmp_path: Path, segmentation: CocoSegmentation, least_iou: float
) -> None:
    with coco_file(tmp_path / "coco.json", CLASSES, segmentation, "a test") as add:
        add(annotated(RING, TWO_PARTS))
        add(annotated(name="empty.jpg"))
        add(annotated(TWO_PARTS, name="c.jpg"))

    coco = COCO(str(tmp_path / "coco.json"))

    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["a/b.jpg", "empty.jpg", "c.jpg"]
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["cat", "dog"]
    assert coco.getAnnIds(imgIds=[2]) == []
    for image, masks in ((1, (RING, TWO_PARTS)), (3, (TWO_PARTS,))):
        found = coco.loadAnns(coco.getAnnIds(imgIds=[image]))
        assert [one["category_id"] for one in found] == [1, 2][: len(masks)]
        for one, mask in zip(found, masks, strict=True):
            assert one["area"] == mask.sum()
            assert iou(coco.annToMask(one).astype(bool), mask) >= least_iou
    assert not coco.annToMask(coco.loadAnns([1])[0])[45, 45]  # the hole
    assert coco.loadAnns([1])[0]["bbox"] == [10, 5, 80, 80]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_takes_the_objects_as_results_too(tmp_path: Path) -> None:
    with coco_file(tmp_path / "coco.json", CLASSES) as add:
        add(annotated(RING, TWO_PARTS))
    coco = COCO(str(tmp_path / "coco.json"))

    results = coco.loadRes(json.loads((tmp_path / "coco.json").read_text())["annotations"])

    assert [one["score"] for one in results.loadAnns([1, 2])] == [0.9, 0.8]


def test_a_file_without_images_is_a_coco_file(tmp_path: Path) -> None:
    with coco_file(tmp_path / "coco.json", CLASSES):
        pass

    assert COCO(str(tmp_path / "coco.json")).getImgIds() == []


def test_yolo_lines_painted_as_a_trainer_does_are_the_masks() -> None:
    lines = label_text(annotated(RING, TWO_PARTS), CLASSES).splitlines()

    assert [line.split()[0] for line in lines] == ["0", "1"]
    for line, mask in zip(lines, (RING, TWO_PARTS), strict=True):
        corners = np.array(line.split()[1:], np.float32).reshape(-1, 2)
        assert corners.min() >= 0
        assert corners.max() <= 1
        painted = paint_outlines([corners * np.float32([WIDTH, HEIGHT])], (HEIGHT, WIDTH))
        assert iou(painted, mask) >= 0.98
    assert label_text(annotated(), CLASSES) == ""


def test_labels_lie_where_the_images_do() -> None:
    assert label_path(Path("labels"), "a/b.c.jpg") == Path("labels/a/b.c.txt")


def test_images_that_would_share_a_label_file_are_named() -> None:
    check_label_names(["a.jpg", "b/a.jpg", "b.jpg"])

    with pytest.raises(ValueError, match=r"'b/a\.jpg' and 'b/a\.png' would share"):
        check_label_names(["a.jpg", "b/a.jpg", "b/a.png"])


def test_the_dataset_file_numbers_the_classes() -> None:
    lines = dataset_text(("cat", 'the "other"')).splitlines()

    assert lines[-3:] == ["names:", '  0: "cat"', '  1: "the \\"other\\""']


def test_the_contact_sheet_shows_the_masks_in_their_class_colours() -> None:
    sheet = ContactSheet(CLASSES)
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)

    sheet.add(grey, annotated(TWO_PARTS))
    sheet.add(grey, annotated(name="nothing.jpg"))
    pixels = np.asarray(sheet.draw("two pictures")).astype(int)

    masked = np.array([128] * 3) * 0.55 + np.array(mask_colour(0)) * 0.45
    coloured = np.abs(pixels - masked).max(axis=2) < 4
    share = TWO_PARTS.sum() / TWO_PARTS.size
    assert 0.8 * share < coloured.sum() / (320 * 192) < share  # outlines and the chip cover some of it
    assert coloured[:, : pixels.shape[1] // 2].sum() == coloured.sum()
    assert (np.abs(pixels - np.array(mask_colour(1))).max(axis=2) < 4).sum() == 0  # no dogs


def test_the_contact_sheet_copes_with_any_shape_and_long_names() -> None:
    sheet = ContactSheet(CLASSES)
    for height, width in ((1, 900), (900, 1), (1, 1)):
        lengths = run_lengths_from_mask(np.ones((height, width), bool))
        one = AnnotatedObject("dog", 0.5, (0, 0, width, height), lengths)
        sheet.add(np.zeros((height, width, 3), np.uint8), AnnotatedImage("long" * 60, (height, width), (one,)))

    assert sheet.draw("shapes").size[0] < 1100


def test_the_contact_sheet_of_nothing_has_its_title_only() -> None:
    assert min(ContactSheet(CLASSES).draw("nothing").size) > 50


def test_the_contact_sheet_says_when_it_is_full() -> None:
    sheet = ContactSheet(CLASSES)

    for number in range(MAX_IMAGES):
        assert not sheet.is_full
        sheet.add(np.zeros((2, 3, 3), np.uint8), AnnotatedImage(str(number), (2, 3), ()))

    assert sheet.is_full
