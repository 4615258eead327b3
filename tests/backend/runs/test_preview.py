from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration, TaskFilter
from sam_backend.runs.preview import Preview, preview_run
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


def tried(url: str, number: int, **asked: object) -> Preview:
    configuration = RunConfiguration(1, detector="everything", label_map={"object": "face"}, **asked)  # type: ignore[arg-type]
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
    drawn = cv2.imdecode(np.frombuffer(found.images[0].jpeg or b"", np.uint8), cv2.IMREAD_COLOR)
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
    assert answer["mapping"]["mapped"] == {"object": "face"}
