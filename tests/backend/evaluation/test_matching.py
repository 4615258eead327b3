"""Matching of predictions with annotations, and COCO's average precision with pycocotools as the oracle."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sam_backend.evaluation.average_precision import average_precision, mean_average_precision
from sam_backend.evaluation.mask_similarity import boundary_iou
from sam_backend.evaluation.matching import compare
from sam_backend.shapes.labeled_objects import LabeledObject, mask_iou
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.coco_rle import intersection_area, run_lengths_from_mask

HEIGHT, WIDTH = 60, 100


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    found: NDArray[np.bool_] = np.hypot(columns - x, rows - y) <= radius
    return found


def labeled(mask: NDArray[np.bool_], label: str = "Cat", score: float | None = None, name: str = "r") -> LabeledObject:
    box = box_from_mask(mask)
    assert box is not None
    return LabeledObject(name, "brush", label, score, 0, run_lengths_from_mask(mask), box)


def test_the_intersection_of_run_lengths_equals_that_of_the_masks() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        one, other = random.random((2, 13, 17)) < random.random((2, 1, 1))
        assert intersection_area(run_lengths_from_mask(one), run_lengths_from_mask(other)) == (one & other).sum()


def test_boundary_iou_counts_the_pixels_near_the_outlines() -> None:
    one, other = np.zeros((2, HEIGHT, WIDTH), bool)
    one[10:40, 10:60], other[10:40, 12:60] = True, True
    distance = 2  # 0.02 * the diagonal of 116.6 pixels
    inner_one, inner_other = np.zeros((2, HEIGHT, WIDTH), bool)
    inner_one[12:38, 12:58], inner_other[12:38, 14:58] = True, True
    rings = one & ~inner_one, other & ~inner_other

    assert distance == round(0.02 * np.hypot(HEIGHT, WIDTH))
    expected = (rings[0] & rings[1]).sum() / (rings[0] | rings[1]).sum()
    assert boundary_iou(labeled(one), labeled(other)) == pytest.approx(expected)
    assert mask_iou(labeled(one), labeled(other)) == pytest.approx(48 / 50)


def test_each_prediction_has_one_outcome_and_the_best_assignment_wins() -> None:
    kept, moved, wrong_label, noise = disc(15, 15, 10), disc(50, 20, 12), disc(80, 40, 9), disc(15, 50, 4)
    predicted = [
        labeled(kept, score=0.9, name="kept"),
        labeled(moved, score=0.8, name="moved"),
        labeled(wrong_label, score=0.7, name="label"),
        labeled(noise, score=0.6, name="noise"),
    ]
    corrected, new = disc(52, 20, 12), disc(50, 50, 6)
    annotated = [labeled(new), labeled(wrong_label, "Dog"), labeled(corrected), labeled(kept)]

    found = compare(7, predicted, annotated)

    assert [(one.region_id, one.outcome) for one in found.predicted] == [
        ("kept", "accepted"),
        ("moved", "corrected"),
        ("label", "relabeled"),
        ("noise", "deleted"),
    ]
    assert found.predicted[1].iou == pytest.approx((moved & corrected).sum() / (moved | corrected).sum())
    assert found.added == ("Cat",)


def test_a_greedy_choice_does_not_take_the_partner_of_another_prediction() -> None:
    wide, left, right = np.zeros((3, HEIGHT, WIDTH), bool)
    wide[10:20, 10:50], left[10:20, 10:32], right[10:20, 30:52] = True, True, True

    found = compare(1, [labeled(wide, name="wide"), labeled(right, name="right")], [labeled(left), labeled(right)])

    assert [one.outcome for one in found.predicted] == ["corrected", "accepted"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
def test_the_average_precision_is_that_of_pycocotools() -> None:
    random = np.random.default_rng(3)
    images: list[Any] = []
    truths: list[Any] = []
    detections: list[Any] = []
    comparisons = []
    for number in range(1, 31):
        images.append({"id": number, "width": WIDTH, "height": HEIGHT})
        after, before = [], []
        for _ in range(random.integers(1, 6)):
            x, y, radius = random.uniform(15, 85), random.uniform(12, 48), random.uniform(6, 14)
            label = str(random.choice(["Cat", "Dog"]))
            after.append(labeled(disc(x, y, radius), label))
            if random.random() < 0.8:
                shift = random.uniform(0, 0.4) * radius
                name = label if random.random() < 0.9 else "Dog"
                before.append(labeled(disc(x + shift, y, radius), name, round(random.random(), 3)))
        for one in after:
            coco = one.mask.to_coco(is_compressed=True)
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": number,
                    "category_id": 1 + (one.label == "Dog"),
                    "segmentation": coco,
                    "area": one.mask.area,
                    "iscrowd": 0,
                    "bbox": coco_mask.toBbox(coco).tolist(),
                }
            )
        for one in before:
            detections.append(
                {
                    "image_id": number,
                    "category_id": 1 + (one.label == "Dog"),
                    "segmentation": one.mask.to_coco(is_compressed=True),
                    "score": one.score,
                }
            )
        comparisons.append(compare(number, before, after))
    ious = [one for task in comparisons for one in task.by_label]

    theirs = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1}, {"id": 2}], "info": {}}
        truth.createIndex()
        found = truth.loadRes(detections)
        for names, ids in (("all", [1, 2]), ("Cat", [1]), ("Dog", [2])):
            evaluation = COCOeval(truth, found, "segm")
            evaluation.params.catIds = ids
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            theirs[names] = evaluation.stats[0]

    assert 0.2 < theirs["all"] < 0.9
    assert mean_average_precision(ious) == pytest.approx(theirs["all"], abs=1e-9)
    for label in ("Cat", "Dog"):
        assert average_precision([one for one in ious if one.label == label]) == pytest.approx(theirs[label], abs=1e-9)
