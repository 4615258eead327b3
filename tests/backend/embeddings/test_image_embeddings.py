"""Clicks and runs use each other's embeddings: a real run and a real service share SAM_EMBEDDINGS_DIR."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.local_executor import LocalExecutor
from sam_backend.preannotation.outcome import BulkTask, Executor, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.service.service import assemble
from sam_backend.settings import Settings
from sam_backend.web.app import create_app
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.sam.segmenter import SamSegmenter
from sam_model.weights.store import store_from_env
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import key_point, predict_request
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.service import png_image

IMAGE = "data:image/png;base64," + base64.b64encode(png_image(80, 60)).decode()
ONE_LABEL = (
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="mask" toName="image"><Label value="Cat"/></BrushLabels></View>'
)
STORE = store_from_env({"SAM_OFFLINE": "1"})


def count_embeds(monkeypatch: pytest.MonkeyPatch, segmenter: type[Any]) -> list[tuple[int, ...]]:
    """Return a list that gets the shape of each image that the segmenter embeds."""
    shapes: list[tuple[int, ...]] = []
    embed = segmenter.embed

    def counted(self: Any, image: np.ndarray) -> Any:
        shapes.append(image.shape)
        return embed(self, image)

    monkeypatch.setattr(segmenter, "embed", counted)
    return shapes


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images that a SAM embeds."""
    return count_embeds(monkeypatch, SamSegmenter)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded_checkpoint(tmp_path_factory.mktemp("weights") / "seeded.pt")


@pytest.fixture
def label_studio() -> Iterator[tuple[Store, str]]:
    store = Store()
    store.add_tasks(1, IMAGE)
    rectangle = {
        "id": "box",
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "image",
        "value": {"x": 20, "y": 20, "width": 50, "height": 60, "rotation": 0, "rectanglelabels": ["face"]},
    }
    store.add_prediction(1, result=[rectangle], model_version="drawn elsewhere")
    with fake_label_studio(store) as url:
        yield store, url


class Recorder:
    """An executor that keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def executor_for(self, preannotator: Preannotator) -> Executor:
        self._executor = LocalExecutor(preannotator)
        return self

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        for outcome in self._executor.run(tasks, is_stopping):
            self.outcomes.append(outcome)
            yield outcome


def run_on_boxes(folder: Path, settings: Settings, store: Store, url: str) -> list[Any]:
    """Pre-annotate the task's rectangle; return the values of the regions that the run writes."""
    run = RunStore(folder).create(RunConfiguration(1, detector="boxes", policy="add"))
    recorder = Recorder()
    progress = work_on(
        run,
        settings=settings,
        access=LabelStudioCredentials(url, TOKEN),
        store=STORE,
        executor_for=recorder.executor_for,
    )
    assert (progress.state, progress.message) == ("finished", "")
    assert len(store.predictions[1].pop()["result"]) == 1
    (outcome,) = recorder.outcomes
    return [region["value"] for region in json.loads(outcome.prediction or b"")["result"]]


def click(settings: Settings) -> Any:
    """Start a service, click on the task's image, and return the answer."""
    service = assemble(settings, STORE)
    try:
        answer = (
            create_app(service)
            .test_client()
            .post("/predict", json=predict_request([key_point(50, 50)], data={"image": IMAGE}))
        )
    finally:
        service.close()
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def settings_with(folder: Path, weights: Path, embeddings_dir: Path | None) -> Settings:
    return Settings(
        model=str(weights), device="cpu", runtime="torch", runs_dir=folder / "runs", embeddings_dir=embeddings_dir
    )


def test_a_click_uses_the_embedding_that_a_run_stored(
    tmp_path: Path, weights: Path, label_studio: tuple[Store, str], embedded: list[tuple[int, ...]]
) -> None:
    settings = settings_with(tmp_path, weights, tmp_path / "embeddings")
    run_on_boxes(tmp_path / "a", settings, *label_studio)
    assert embedded == [(60, 80, 3)]

    answer = click(settings)

    assert len(embedded) == 1
    assert answer == click(settings_with(tmp_path, weights, None))


def test_a_run_uses_the_embedding_that_a_click_stored(
    tmp_path: Path, weights: Path, label_studio: tuple[Store, str], embedded: list[tuple[int, ...]]
) -> None:
    settings = settings_with(tmp_path, weights, tmp_path / "embeddings")
    click(settings)
    assert embedded == [(60, 80, 3)]

    results = run_on_boxes(tmp_path / "a", settings, *label_studio)

    assert len(embedded) == 1
    assert results == run_on_boxes(tmp_path / "b", settings_with(tmp_path, weights, None), *label_studio)


def test_a_click_uses_the_embedding_that_a_batch_prediction_left_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = count_embeds(monkeypatch, ClassicalSegmenter)
    settings = Settings(
        model="classical", detector="everything", runs_dir=tmp_path, prefetch=False, task_open_timeout_s=60
    )
    service = assemble(settings, STORE)
    client = create_app(service).test_client()
    try:
        opened = client.post("/predict", json=predict_request(None, ONE_LABEL, {"image": IMAGE}))
        clicked = client.post("/predict", json=predict_request([key_point(50, 50)], ONE_LABEL, {"image": IMAGE}))
    finally:
        service.close()

    assert opened.get_json()["results"][0]["model_version"].startswith("label-studio-sam everything+classical")
    assert clicked.get_json()["results"][0]["result"]
    assert len(embedded) == 1


def test_an_image_in_memory_is_neither_decoded_nor_embedded_again() -> None:
    segmenter = DiscSegmenter()
    embeddings = ImageEmbeddings(segmenter, EmbeddingCache(1 << 20))
    image = np.zeros((20, 40, 3), np.uint8)
    assert not embeddings.is_prepared("a")
    first = embeddings.get("a", lambda: image, "task 1")

    again = embeddings.get("a", lambda: pytest.fail("decoded twice"), "task 1")

    assert again is first is embeddings.cached("a")
    assert len(segmenter.images) == 1


def test_without_memory_and_folder_every_call_computes() -> None:
    segmenter = DiscSegmenter()
    embeddings = ImageEmbeddings(segmenter)
    image = np.zeros((20, 40, 3), np.uint8)

    for _ in range(2):
        embeddings.get("a", lambda: image, "task 1")

    assert embeddings.cached("a") is None
    assert not embeddings.is_prepared("a")
    assert len(segmenter.images) == 2
