import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from torch import Tensor

from sam_backend.preannotation import local_executor
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.local_executor import LocalExecutor, compute_threads
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import FetchedTask, Preannotator
from sam_backend.settings import Settings
from sam_model.runtime.choice import Runtime
from sam_model.runtime.combined_calls import IMAGES_PER_BATCH
from sam_model.runtime.probe import FoundRuntime
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import CONFIG
from sam_testing.tiny_weights import know_tiny_sizes, write_tiny_weights
from sam_testing.waiting import wait_until

TASKS = [BulkTask(number, {"image": f"{number}.jpg"}) for number in range(6)]


class WaitingStages:
    """Stages in which each task waits until another one is computed at the same time."""

    def __init__(self) -> None:
        self._both = threading.Barrier(2)

    def fetch(self, task: BulkTask) -> FetchedTask:
        """Return the task without images."""
        return FetchedTask(task, (), is_multi_page=False)

    def annotate(self, fetched: FetchedTask) -> Outcome:
        """Wait for the other task."""
        self._both.wait()
        return Outcome(fetched.task.id, b"{}")


def test_one_image_is_prepared_or_encoded_while_another_is_in_the_network() -> None:
    threads = compute_threads("mobile_sam", Settings(runtime="torch", device="cpu"))

    outcomes = LocalExecutor(WaitingStages(), compute_threads=threads).run(TASKS, lambda: False)

    assert sorted(outcome.task_id for outcome in outcomes) == list(range(6))


def test_a_gpu_gets_enough_images_for_its_batches_and_a_classical_model_all_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = FoundRuntime(Runtime("torch", "cuda:0", "float16"))
    monkeypatch.setattr(local_executor, "find_runtime", lambda *_: gpu)

    assert compute_threads("mobile_sam", Settings()) == 2 * IMAGES_PER_BATCH
    assert compute_threads("classical", Settings()) == os.cpu_count()


class DrawnImages:
    """A fetcher of drawn images."""

    def fetch(self, address: str, *_: Any) -> bytes:
        """Return an image whose size depends on its number."""
        number = int(address.split(".")[0])
        image = np.random.default_rng(number).integers(0, 256, (60 + 20 * (number % 2), 80, 3), dtype=np.uint8)
        return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture
def preannotator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preannotator:
    """Return a pre-annotator of small networks that compute several images together, as on a GPU."""
    write_tiny_weights(tmp_path)
    know_tiny_sizes(monkeypatch)
    for module in ("sam_model.yolo.detector", "sam_model.sam.segmenter"):
        monkeypatch.setattr(f"{module}.images_per_batch", lambda device: IMAGES_PER_BATCH)
    store = store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(tmp_path)})
    settings = Settings(model="classical", weights_dir=tmp_path, runtime="torch", device="cpu")
    asked = RunConfiguration(
        1, detector=str(tmp_path / "yolov8n.pt"), model=str(tmp_path / "mobile_sam.pt"), max_detections=3
    )
    return load_preannotator(asked, CONFIG, "0123456789ab", settings, store, DrawnImages())


def test_a_gpu_that_computes_several_images_together_gives_each_task_its_own_objects(
    preannotator: Preannotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {task.id: orjson.loads(preannotator.preannotate(task).prediction or b"") for task in TASKS}
    detector: Any = preannotator.object_source._detector  # type: ignore[attr-defined]
    outputs, batches = detector.network.outputs, []

    def counted(x: Tensor, *, one_to_one: bool) -> Any:
        if not batches:  # the images of the other threads wait during the first batch
            wait_until(lambda: detector._batches.waiting >= 4)
        batches.append(len(x))
        return outputs(x, one_to_one=one_to_one)

    monkeypatch.setattr(detector.network, "outputs", counted)
    executor = LocalExecutor(preannotator, compute_threads=2 * IMAGES_PER_BATCH, fetch_threads=6)
    found = {one.task_id: orjson.loads(one.prediction or b"") for one in executor.run(TASKS, lambda: False)}

    assert max(batches) > 1
    assert sum(batches) == len(TASKS)
    assert any(one["result"] for one in expected.values())
    for task, prediction in expected.items():
        assert found[task]["score"] == pytest.approx(prediction["score"], abs=1e-3)  # batches sum in another order
        assert [one["value"]["brushlabels"] for one in found[task]["result"]] == [
            one["value"]["brushlabels"] for one in prediction["result"]
        ]
