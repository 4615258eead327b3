"""All work on an image that does not depend on the prompt is done when its task is opened, and for the next tasks."""

from collections.abc import Callable
from typing import Any

import pytest

from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.settings import Settings
from sam_model.sam.segmenter import SamSegmenter
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import key_point, predict_request
from sam_testing.preparations import counted_preparations
from sam_testing.seeded_checkpoints import TINY_HQ_SAM, TINY_MOBILE_SAM, TINY_SAM2, AnySize, seeded_sam
from sam_testing.service import SamService, png_image
from sam_testing.waiting import wait_until


def image_of(task: int) -> dict[str, str]:
    return {"image": f"/data/upload/1/{task}.png"}


def service_with(size: AnySize, url: str | None = None, prefetch_next: int = 0) -> SamService:
    segmenter = LimitedSegmenter(SamSegmenter(seeded_sam(size), size.name))
    token = None if url is None else TOKEN
    settings = Settings(prefetch_next=prefetch_next, label_studio_url=url, label_studio_api_key=token, zoom=False)
    service = SamService(settings, load=lambda _: segmenter, cache_bytes=8 << 20)
    service.fake_fetcher.images = {image_of(task)["image"]: png_image(width=40 + task) for task in range(1, 5)}
    service.parts.start()
    wait_until(lambda: service.model.state == "ready")
    return service


def is_prepared(service: SamService, task: int) -> bool:
    return any(
        embedding.image_size[1] == 40 + task and embedding.shared_nbytes > 0
        for embedding in service.parts.cache._kept.values()
    )


def opening(task: int) -> Any:
    return predict_request(None, data=image_of(task), task_id=task)


def prewarming(task: int) -> Any:
    body = predict_request([], data=image_of(task), task_id=task)
    body["params"]["context"] = {"event": "prewarm"}
    return body


@pytest.mark.parametrize("size", [TINY_MOBILE_SAM, TINY_HQ_SAM, TINY_SAM2], ids=lambda size: size.name)
@pytest.mark.parametrize("asks", [opening, prewarming])
def test_the_first_click_after_opening_computes_nothing_of_what_prompts_share(
    size: AnySize, asks: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_preparations(monkeypatch)
    service = service_with(size)

    service.predict(asks(1)) if asks is prewarming else service.client.post("/predict", json=asks(1))
    wait_until(lambda: is_prepared(service, 1))
    ahead = len(calls)
    answer = service.predict(predict_request([key_point(50, 50)], data=image_of(1), task_id=1))

    assert (ahead, len(calls)) == (1, 1)
    assert answer["model_version"] == service.model.version


def test_a_task_that_was_embedded_but_not_prepared_is_prepared_when_it_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = counted_preparations(monkeypatch)
    service = service_with(TINY_MOBILE_SAM)
    service.predict(predict_request([key_point(50, 50)], data=image_of(2), task_id=2))
    for embedding in service.parts.cache._kept.values():
        embedding.drop_shared()  # as the cache does for images that were used long ago

    service.client.post("/predict", json=opening(2))
    wait_until(lambda: is_prepared(service, 2))

    service.predict(predict_request([key_point(50, 50)], data=image_of(2), task_id=2))
    assert len(calls) == 2


def test_the_next_tasks_are_prepared_too() -> None:
    store = Store()
    with fake_label_studio(store) as url:
        store.tasks = {task: image_of(task) for task in range(1, 5)}
        service = service_with(TINY_MOBILE_SAM, url, prefetch_next=2)

        service.client.post("/predict", json=opening(1))

        wait_until(lambda: all(is_prepared(service, task) for task in (1, 2, 3)))
    assert not is_prepared(service, 4)
