"""Synthetic annotators: predictions that were accepted, corrected, relabeled, deleted and added to as planned.

Every task has a grid of places. A predicted rectangle lies on each used place, and a seeded generator decides what the
annotator does with it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_backend.preannotation.provenance import PRODUCT, region_id, score_without_regions
from sam_backend.shapes.brush_rle import encode_mask
from sam_testing.fake_label_studio import Store, disc_image

HEIGHT, WIDTH = 48, 64
LABELS = ("person", "face")
PLACES = [(row, column) for row in range(4) for column in range(4)]  # of 12 x 16 pixels
SIDE_Y, SIDE_X = 8, 10
ACTIONS = ("accepted", "corrected", "relabeled", "deleted")


@dataclass
class Planted:
    """What the annotators did."""

    version: str = "planted 1"
    outcomes: Counter[str] = field(default_factory=Counter)
    by_label: dict[str, Counter[str]] = field(default_factory=dict)
    ious: list[float] = field(default_factory=list)

    @property
    def corrected_iou(self) -> float:
        """Return the mean IoU of the corrected regions."""
        return float(np.mean(self.ious))


@dataclass(frozen=True)
class PlantedTask:
    """The results of a task's prediction and annotation."""

    predicted: list[dict[str, Any]]
    annotated: list[dict[str, Any]]


def planted_tasks(number: int, seed: int = 0) -> tuple[list[PlantedTask], Planted]:
    """Return tasks and what was planted; scores say little: accepted regions have 0.5 to 1, others 0.3 to 0.9."""
    random = np.random.default_rng(seed)
    planted = Planted()
    planted.by_label = {label: Counter(dict.fromkeys((*ACTIONS, "added"), 0)) for label in LABELS}
    planted.outcomes.update(dict.fromkeys((*ACTIONS, "added"), 0))
    tasks = []
    for _ in range(number):
        predicted, annotated = [], []
        order = random.permutation(len(PLACES))
        for index, place in enumerate(order[: random.integers(1, 7)]):
            label = LABELS[int(random.integers(2))]
            action = str(random.choice(ACTIONS, p=[0.6, 0.2, 0.05, 0.15]))
            mask = _rectangle(PLACES[place], 0)
            low, high = (0.5, 1.0) if action == "accepted" else (0.3, 0.9)
            predicted.append(region(mask, label, f"p{index}", score=round(float(random.uniform(low, high)), 4)))
            planted.outcomes[action] += 1
            planted.by_label[label][action] += 1
            if action == "corrected":
                shift = int(random.integers(1, 3))
                mask = _rectangle(PLACES[place], shift)
                planted.ious.append((SIDE_X - shift) / (SIDE_X + shift))
            if action == "relabeled":
                label = LABELS[1 - LABELS.index(label)]
            if action != "deleted":
                annotated.append(region(mask, label, f"p{index}"))
        for index, place in enumerate(order[8 : 8 + random.integers(0, 3)]):
            label = LABELS[int(random.integers(2))]
            annotated.append(region(_rectangle(PLACES[place], 0), label, f"n{index}"))
            planted.outcomes["added"] += 1
            planted.by_label[label]["added"] += 1
        tasks.append(PlantedTask(predicted, annotated))
    return tasks, planted


def planted_project(store: Store, tasks: int, seed: int = 0, run_id: str | None = None) -> Planted:
    """Fill the fake Label Studio with planted tasks, and five that nobody annotated.

    With a run id, the predictions are those of a run.
    """
    found, planted = planted_tasks(tasks, seed)
    if run_id is not None:
        planted.version = f"{PRODUCT} {planted.version}"
    for number, one in zip(store.add_tasks(tasks, disc_image()), found, strict=True):
        for index, result in enumerate(one.predicted):
            result["id"] = result["id"] if run_id is None else region_id(run_id, number, index)
        store.add_prediction(number, result=one.predicted, model_version=planted.version)
        store.annotations[number] = [{"id": number, "result": one.annotated, "was_cancelled": False, "lead_time": 9.5}]
    for number in store.add_tasks(5, disc_image()):
        score = None if run_id is None else score_without_regions(run_id)
        store.add_prediction(number, result=[], model_version=planted.version, score=score)
    return planted


def region(mask: NDArray[np.bool_], label: str, name: str, **more: Any) -> dict[str, Any]:
    """Return a stored brush region."""
    return {
        "id": name,
        "type": "brushlabels",
        "from_name": "mask",
        "to_name": "image",
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "value": {"format": "rle", "rle": encode_mask(mask), "brushlabels": [label]},
        **more,
    }


def _rectangle(place: tuple[int, int], shift: int) -> NDArray[np.bool_]:
    """Return a rectangle of SIDE_Y x SIDE_X pixels at a place, moved to the right."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    y, x = 12 * place[0] + 2, 16 * place[1] + 2 + shift
    mask[y : y + SIDE_Y, x : x + SIDE_X] = True
    return mask
