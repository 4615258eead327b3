"""Clicks of many people at once, over HTTP and real image servers: each gets the mask of the image in the request."""

import io
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from sam_backend.images.fetch import FetchLimits, ImageFetcher
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.settings import Settings
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.types import Prompt, ScoredMask
from sam_testing.disc_segmenter import DiscEmbedding, DiscSegmenter
from sam_testing.label_studio import key_point, predict_request, rectangle
from sam_testing.service import SamService
from sam_testing.web_server import Answer, Asked, serving

IMAGES, THREADS, REQUESTS = 8, 32, 3200


def gray(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 40, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class LevelEmbedding(DiscEmbedding):
    level: int = 0


class LevelSegmenter(DiscSegmenter):
    """The mask of an image has as many columns as the image's gray level, less one for each click it refines."""

    def embed(self, image: np.ndarray) -> LevelEmbedding:
        super().embed(image)
        return LevelEmbedding((image.shape[0], image.shape[1]), level=int(image[0, 0, 0]))

    def segment(self, embedding: DiscEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        assert isinstance(embedding, LevelEmbedding)
        found = []
        for prompt in prompts:
            refined = 0.0 if prompt.mask_input is None else float(prompt.mask_input[0, 0])
            assert refined in (0.0, embedding.level), "the logits of another image"
            mask = np.zeros(embedding.image_size, bool)
            mask[:, : embedding.level] = True
            found.append(ScoredMask(mask, 0.9, np.full((4, 4), embedding.level, np.float32)))
        return found


def level_of(answer: dict) -> int:
    """The number of columns that the mask of an answer has."""
    (region,) = answer["results"][0]["result"]
    mask = decode_mask(region["value"]["rle"], region["original_height"], region["original_width"])
    return int(mask[0].sum())


def fetcher_of_anything() -> ImageFetcher:
    return ImageFetcher(LabelStudioCredentials(None, None), FetchLimits(allow_private_addresses=True))


def test_3200_clicks_of_32_threads_on_8_images_get_no_foreign_mask() -> None:
    asked_for: Counter[str] = Counter()

    def answer(asked: Asked) -> Answer:
        asked_for[asked.path] += 1
        return Answer(gray(int(asked.path.removeprefix("/"))))

    segmenter = LevelSegmenter()
    with serving(answer) as server:
        service = SamService(
            Settings(image_check_s=0.05),  # many checks
            load=lambda _: segmenter,
            fetcher=fetcher_of_anything(),
            cache_bytes=3000,  # three embeddings: most are made again
        )
        barrier = threading.Barrier(THREADS)

        def click_on(thread: int) -> list[tuple[int, int, int]]:
            client = service.app.test_client()
            random = np.random.default_rng(thread)
            found = []
            barrier.wait()
            for _ in range(REQUESTS // THREADS):
                level = int(random.integers(1, IMAGES + 1)) * 4
                points = [key_point(10 * n, 50, f"p{n}") for n in range(int(random.integers(1, 4)))]
                request = predict_request(points, data={"image": f"{server.url}/{level}"}, task_id=level)
                response = client.post("/predict", json=request)
                found.append((response.status_code, level, level_of(response.get_json())))
            return found

        with ThreadPoolExecutor(THREADS) as threads:
            found = [each for of_one in threads.map(click_on, range(THREADS)) for each in of_one]

    assert len(found) == REQUESTS
    assert [each for each in found if each[0] != 200] == []
    assert [each for each in found if each[1] != each[2]] == []
    assert len(segmenter.images) > IMAGES
    assert min(asked_for.values()) > 1


def test_fifty_first_clicks_at_once_cost_one_fetch_and_one_embedding() -> None:
    segmenter = LevelSegmenter()
    with serving(lambda asked: Answer(gray(12))) as server:
        service = SamService(load=lambda _: segmenter, fetcher=fetcher_of_anything())
        barrier = threading.Barrier(50)

        def click(number: int) -> int:
            client = service.app.test_client()
            barrier.wait()
            request = predict_request([key_point(number, 50)], data={"image": f"{server.url}/a.png"}, task_id=number)
            return level_of(client.post("/predict", json=request).get_json())

        with ThreadPoolExecutor(50) as threads:
            found = list(threads.map(click, range(50)))

    assert found == [12] * 50
    assert len(segmenter.images) == 1
    assert len(server.asked) == 1


class HalvingSegmenter(DiscSegmenter):
    """Half of an image's size is enough for its embedding."""

    def least_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        return image_size[0] // 2, image_size[1] // 2

    def embed_reduced(self, pixels: np.ndarray, image_size: tuple[int, int]) -> DiscEmbedding:
        super().embed(pixels)
        return DiscEmbedding(image_size)


@pytest.mark.parametrize(("kind", "decoded"), [("JPEG", (20, 40, 3)), ("PNG", (40, 80, 3))])
def test_a_jpeg_is_decoded_as_far_as_its_embedding_needs_it(kind: str, decoded: tuple[int, int, int]) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((40, 80, 3), 99, np.uint8)).save(file, kind)
    segmenter = LimitedSegmenter(halving := HalvingSegmenter())
    with serving(lambda asked: Answer(file.getvalue())) as server:
        service = SamService(load=lambda _: segmenter, fetcher=fetcher_of_anything())
        half = rectangle(0, 0, 50, 100) | {"original_width": 80, "original_height": 40}
        request = predict_request([half], data={"image": f"{server.url}/a"})

        answer = service.app.test_client().post("/predict", json=request).get_json()

    (region,) = answer["results"][0]["result"]
    assert halving.images[0].shape == decoded
    assert decode_mask(region["value"]["rle"], 40, 80)[:, :39].all()


def test_a_click_after_the_image_was_replaced_gets_the_new_images_mask() -> None:
    level = [8]
    with serving(lambda asked: Answer(gray(level[0]))) as server:
        service = SamService(Settings(image_check_s=0), load=lambda _: LevelSegmenter(), fetcher=fetcher_of_anything())
        click = predict_request([key_point(50, 50), key_point(60, 50, "p2")], data={"image": f"{server.url}/a.png"})
        found = [level_of(service.client.post("/predict", json=click).get_json())]
        level[0] = 24
        found.append(level_of(service.client.post("/predict", json=click).get_json()))

    assert found == [8, 24]


def test_opening_a_task_again_checks_its_image_before_the_first_click() -> None:
    level = [8]
    with serving(lambda asked: Answer(gray(level[0]))) as server:
        segmenter = LevelSegmenter()
        service = SamService(Settings(image_check_s=0), load=lambda _: segmenter, fetcher=fetcher_of_anything())
        data = {"image": f"{server.url}/a.png"}
        service.client.post("/predict", json=predict_request([key_point(50, 50)], data=data))
        level[0] = 24
        service.client.post("/predict", json=predict_request(None, data=data))
        embedded = threading.Event()
        while len(segmenter.images) < 2:
            assert not embedded.wait(0.01)

    assert int(segmenter.images[-1][0, 0, 0]) == 24


@pytest.mark.parametrize("prompt", [key_point, lambda x, y, name: rectangle(x, y, 5, 5, name)])
def test_more_prompts_than_the_limit_are_refused_with_both_numbers(prompt: object) -> None:
    service = SamService()
    prompts = [prompt(number % 90, 50, f"p{number}") for number in range(201)]  # type: ignore[operator]

    most = service.client.post("/predict", json=predict_request(prompts[:200]))
    refused = service.client.post("/predict", json=predict_request(prompts))

    assert most.status_code == 200
    assert refused.status_code == 400
    assert refused.get_json()["error"] == ("the request has 201 prompts; the maximum is 200: see SAM_MAX_PROMPTS")


def test_the_limit_counts_the_prompts_of_all_tasks() -> None:
    service = SamService(replace(Settings(), max_prompts=3))
    tasks = [{"id": number, "data": {"image": "/data/upload/1/image.png"}} for number in (1, 2)]

    answers = []
    for count in (1, 2):
        clicks = [key_point(9 * number, 50, f"p{number}") for number in range(count)]
        answers.append(service.client.post("/predict", json=predict_request(clicks, tasks=tasks)))

    assert [answer.status_code for answer in answers] == [200, 400]


def test_two_hundred_clicks_on_one_object_cost_no_more_than_nine_calls_of_the_decoder() -> None:
    service = SamService()

    service.predict(predict_request([key_point(number / 2, 50, f"p{number}") for number in range(200)]))

    assert len(service.segmenter.prompts) == 9
