from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration, TaskFilter
from sam_backend.runs.preview import Preview, preview_run
from sam_backend.runs.task_preview import path_from_mask
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with fake_label_studio(store) as url:
        yield url


def tried(url: str, number: int, detector: str = "everything", **asked: object) -> Preview:
    label_map = {"object": "face"} if detector == "everything" else {}
    configuration = RunConfiguration(1, detector=detector, label_map=label_map, **asked)  # type: ignore[arg-type]
    weights = store_from_env({"SAM_OFFLINE": "1"})
    return preview_run(
        configuration,
        number,
        settings=Settings(model="classical"),
        access=LabelStudioCredentials(url, TOKEN),
        store=weights,
    )


def test_a_few_tasks_spread_over_the_project_are_drawn_and_nothing_is_written(store: Store, url: str) -> None:
    store.add_tasks(9)
    store.tasks[4] = {"image": "data:image/png;base64,AAAA"}

    found = tried(url, 3)

    assert [one.task_id for one in found.images] == [1, 4, 7]
    assert found.images[1].error is not None
    assert found.images[1].jpeg is None
    drawn = cv2.imdecode(np.frombuffer(found.images[0].drawn_jpeg or b"", np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    assert drawn.shape == (48, 64, 3)
    assert found.images[0].labels["face"] >= 1
    assert found.tasks == 9
    assert found.bytes_per_task > 0
    assert store.predictions == {}
    assert store.imports == 0


def test_the_estimate_counts_the_tasks_asked_for(store: Store, url: str) -> None:
    store.add_tasks(9)

    answer = tried(url, 2, filter=TaskFilter(ids=(2, 3, 5, 7))).to_json()

    assert [one["task"] for one in answer["images"]] == [2, 5]
    assert answer["estimate"]["tasks"] == 4
    for image in answer["images"]:
        assert image["size"] == [64, 48]
        assert image["labels"] == {"face": len(image["objects"])}
        assert all(one["outline"].startswith("M") and one["outline"].endswith("Z") for one in image["objects"])
        assert all(0 <= one["score"] <= 1 for one in image["objects"])
    assert answer["mapping"]["mapped"] == {"object": "face"}


def test_an_outline_has_the_holes_and_parts_of_its_mask() -> None:
    mask = np.zeros((9, 12), np.bool_)
    mask[1:7, 2:8] = True
    mask[3:5, 4:6] = False
    mask[7:9, 9:12] = True

    assert path_from_mask(mask) == "M2 1L8 1L8 7L2 7ZM4 3L6 3L6 5L4 5ZM9 7L12 7L12 9L9 9Z"


@pytest.mark.parametrize(
    "selection",
    [
        TaskFilter(without_annotations=True),
        TaskFilter(state="unlabeled"),
        TaskFilter(ids=tuple(range(1, 13)), without_annotations=True),
        TaskFilter(sample=12, without_annotations=True),
    ],
)
def test_tasks_that_the_run_leaves_out_take_no_place_of_others(store: Store, url: str, selection: TaskFilter) -> None:
    store.add_tasks(12)
    for task in (1, 2, 4, 6, 9):
        store.annotations[task] = [{"id": task, "result": [], "was_cancelled": False}]

    assert [one.task_id for one in tried(url, 8, "boxes", filter=selection).images] == [3, 5, 7, 8, 10, 11, 12]
    assert [one.task_id for one in tried(url, 3, "boxes", filter=selection).images] == [3, 7, 10]


def test_a_large_project_is_not_listed_completely_for_a_preview(store: Store, url: str) -> None:
    store.add_tasks(4000)
    store.annotations = {task: [{"id": task, "result": []}] for task in range(1, 4001) if task != 4000}
    asked: list[str] = []
    store.fault = lambda method, path: asked.append(path) or ""  # type: ignore[func-returns-value]

    assert tried(url, 8, "boxes", filter=TaskFilter(state="unlabeled")).images == ()
    assert asked.count("/api/tasks/") < 150  # of 40 pages with ids and up to 6 with tasks, for each of three samples


def test_the_estimate_counts_only_tasks_without_annotations(store: Store, url: str) -> None:
    store.add_tasks(12)
    store.annotations[4] = [{"id": 4, "result": [], "was_cancelled": False}]

    assert tried(url, 1, "boxes", filter=TaskFilter(without_annotations=True)).tasks == 11
    assert tried(url, 1, "boxes", filter=TaskFilter(without_annotations=True, sample=5)).tasks == 5
