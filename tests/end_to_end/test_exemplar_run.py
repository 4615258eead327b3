"""A run with examples in the real Label Studio: one annotated task, then a few corrected ones."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.task_pages import stored_task_pages, stored_tasks_of_ids
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_backend.shapes.brush import brush_value
from sam_backend.shapes.labeled_objects import LabeledObject, objects_from_results
from sam_model.types import Mask
from sam_model.weights.store import store_from_env
from sam_testing.drawn_classes import ALIKE, HEIGHT, STAR, WIDTH, DrawnObject, drawn_classes
from sam_testing.real_label_studio import project_with_images, real_label_studio

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(900)]

TASKS, CORRECTED = 12, 4


class Project:
    """Twelve tasks with stars among red rings and blue stars."""

    def __init__(self, url: str, token: str, folder: Path) -> None:
        self.url, self.token, self.folder = url, token, folder
        self.api = LabelStudioClient(LabelStudioCredentials(url, token))
        images, drawn = [], []
        for seed in range(TASKS):
            image, objects = drawn_classes(300 + seed, ALIKE)
            png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
            images.append("data:image/png;base64," + base64.b64encode(png).decode())
            drawn.append(objects)
        self.number = project_with_images(url, token, images, TASKS)
        listed = self.api.call("GET", "/api/tasks/", query={"project": self.number, "page_size": TASKS})
        self.tasks = sorted(int(one["id"]) for one in listed["tasks"])
        self.objects: dict[int, list[DrawnObject]] = dict(zip(self.tasks, drawn, strict=True))

    def stars(self, task: int) -> list[Mask]:
        return [one.mask for one in self.objects[task] if one.kind == STAR]

    def annotate(self, task: int, masks: list[Mask]) -> None:
        results = []
        for number, mask in enumerate(masks):
            rle = [int(one) for one in brush_value(mask)["rle"]]
            value = {"format": "rle", "rle": rle, "brushlabels": ["person"]}
            names = {"id": f"r{task}-{number}", "from_name": "mask", "to_name": "image", "type": "brushlabels"}
            results.append({**names, "original_width": WIDTH, "original_height": HEIGHT, "value": value})
        self.api.call("POST", f"/api/tasks/{task}/annotations/", {"result": results})

    def run(self) -> None:
        asked = {"project": self.number, "detector": "exemplars", "policy": "replace-own"}
        progress = work_on(
            RunStore(self.folder / "runs").create(RunConfiguration.from_json(asked)),
            settings=Settings(model="classical", embeddings_dir=self.folder / "embeddings"),
            access=LabelStudioCredentials(self.url, self.token),
            store=store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(self.folder / "weights")}),
        )
        assert progress.state == "finished", progress.message
        assert progress.counts.failed == 0

    def found(self, task: int) -> list[LabeledObject]:
        (stored,) = stored_tasks_of_ids(self.api, self.number, [task])
        assert len(stored.predictions) == 1
        return objects_from_results(stored.predictions[0]["result"])[0]

    def annotations(self) -> dict[int, Any]:
        stored = {task: self.api.call("GET", f"/api/tasks/{task}/annotations/") for task in self.tasks}
        return {task: [(each["id"], each["updated_at"], each["result"]) for each in of] for task, of in stored.items()}

    def precision_recall_and_lowest_score(self, tasks: list[int]) -> tuple[float, float, float]:
        """Return precision and recall of the stars, and the lowest score of a star."""
        scores: list[float] = []
        found = total = 0
        for task in tasks:
            stars, objects = self.stars(task), self.found(task)
            scores += [one.score or 0 for one in objects if any(iou(one.mask.mask, star) > 0.5 for star in stars)]
            found, total = found + len(objects), total + len(stars)
        return len(scores) / max(1, found), len(scores) / total, min(scores)


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with real_label_studio() as (url, token):
        yield Project(url, token, tmp_path)


def test_corrections_make_the_next_run_more_certain_and_touch_no_annotation(project: Project) -> None:
    first, *others = project.tasks
    corrected, rest = others[:CORRECTED], others[CORRECTED:]
    project.annotate(first, project.stars(first))

    project.run()
    precision, recall, score = project.precision_recall_and_lowest_score(rest)
    for task in corrected:  # the right ones are accepted, the others deleted
        stars = project.stars(task)
        kept = [one.mask.mask for one in project.found(task)]
        project.annotate(task, [mask for mask in kept if any(iou(mask, star) > 0.5 for star in stars)])
    before = project.annotations()
    project.run()

    again = project.precision_recall_and_lowest_score(rest)
    assert again[0] >= precision >= 0.9
    assert again[1] >= recall >= 0.9
    assert again[2] > score  # stars are further from what is no star
    assert project.annotations() == before
    project.api.call("POST", f"/api/tasks/{rest[0]}/annotations/", {"result": [], "was_cancelled": True})
    retry_policy = RetryPolicy(lambda: False, 60, lambda message: None)
    pages = stored_task_pages(project.api, project.number, retry_policy, only_with="cancelled_annotations")
    (skipped,) = next(pages)[0]
    assert (skipped.id, skipped.annotations[0]["was_cancelled"]) == (rest[0], True)
    assert skipped.predictions[0]["result"]
