"""The tasks after an opened one are embedded in idle time, after one small API call."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from sam_backend.settings import Settings
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import key_point, predict_request
from sam_testing.service import SamService, png_image
from sam_testing.waiting import wait_until


@dataclass
class Annotator:
    """A service connected to a fake Label Studio with 30 tasks, each with an image of its own."""

    url: str
    store: Store
    settings: Settings = field(default_factory=Settings)
    cache_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        self.store.tasks = {number: {"image": f"/data/upload/1/{number}.png"} for number in range(1, 31)}
        self.listings: list[str] = []
        self.store.fault = lambda method, path: self.listings.append(path) or ""  # type: ignore[func-returns-value]
        settings = Settings(
            label_studio_url=self.url, label_studio_api_key=TOKEN, prefetch_next=self.settings.prefetch_next
        )
        self.service = SamService(settings, cache_bytes=self.cache_bytes)
        self.service.fake_fetcher.images = {
            f"/data/upload/1/{number}.png": png_image(width=40 + number) for number in self.store.tasks
        }

    @property
    def api_calls(self) -> int:
        return self.listings.count("/api/tasks/")

    @property
    def embedded(self) -> set[int]:
        return {image.shape[1] - 40 for image in self.service.segmenter.images}

    def open(self, task: int) -> None:
        body = predict_request(None, data=self.store.tasks[task], task_id=task)
        assert self.service.client.post("/predict", json=body).status_code == 200

    def click(self, task: int) -> None:
        self.service.predict(predict_request([key_point(50, 50)], data=self.store.tasks[task], task_id=task))


@pytest.fixture
def annotator() -> Iterator[Callable[..., Annotator]]:
    store = Store()
    with fake_label_studio(store) as url:
        yield lambda **more: Annotator(url, store, **more)


def test_opening_a_task_embeds_the_next_three_and_the_following_openings_need_no_other_call(
    annotator: Callable[..., Annotator],
) -> None:
    work = annotator()

    work.open(5)
    wait_until(lambda: work.embedded >= {5, 6, 7, 8})
    for task in (6, 7, 8):
        work.open(task)
    wait_until(lambda: work.embedded >= {9, 10, 11})

    assert work.embedded == {5, 6, 7, 8, 9, 10, 11}
    assert work.api_calls == 1


def test_a_click_on_the_next_task_computes_no_embedding(annotator: Callable[..., Annotator]) -> None:
    work = annotator()
    work.open(1)
    wait_until(lambda: work.embedded >= {1, 2, 3, 4})
    count = len(work.service.segmenter.images)

    work.click(2)  # its own next tasks are 3, 4 and 5
    wait_until(lambda: 5 in work.embedded)

    assert len(work.service.segmenter.images) == count + 1


def test_tasks_that_are_labeled_are_left_out_while_others_follow(annotator: Callable[..., Annotator]) -> None:
    work = annotator()
    work.store.annotations = {number: [{}] for number in (6, 7, 8)}

    work.open(5)
    wait_until(lambda: work.embedded >= {5, 9, 10, 11})

    assert work.embedded == {5, 9, 10, 11}


def test_the_last_task_has_no_next_one(annotator: Callable[..., Annotator]) -> None:
    work = annotator()

    work.open(29)
    wait_until(lambda: work.embedded == {29, 30})


def test_as_many_tasks_are_embedded_as_fit_into_memory_beside_the_opened_one(
    annotator: Callable[..., Annotator],
) -> None:
    work = annotator(cache_bytes=3000)  # three embeddings
    work.click(20)

    work.open(1)
    wait_until(lambda: 2 in work.embedded)
    work.open(10)
    wait_until(lambda: 11 in work.embedded)

    assert not work.embedded & {3, 4, 12, 13}


def test_zero_switches_it_off_and_a_refusing_label_studio_costs_a_log_line(
    annotator: Callable[..., Annotator], caplog: pytest.LogCaptureFixture
) -> None:
    off = annotator(settings=Settings(prefetch_next=0))
    off.click(1)
    assert off.api_calls == 0

    work = annotator()
    work.store.is_allowed = False
    work.open(1)
    wait_until(lambda: "could not list the tasks of project 1" in caplog.text)


def test_embedding_ahead_has_a_lower_priority_than_clicks(annotator: Callable[..., Annotator]) -> None:
    os = pytest.importorskip("os")
    work = annotator()
    priorities: dict[int, int] = {}
    embed = work.service.segmenter.embed

    def noted(image):  # type: ignore[no-untyped-def]
        priorities[image.shape[1] - 40] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return embed(image)

    work.service.segmenter.embed = noted  # type: ignore[method-assign]
    work.open(1)
    wait_until(lambda: priorities.keys() >= {1, 2, 3, 4})

    assert priorities[2] > priorities[1]
