"""A Ray cluster of two workers on this machine: the same bytes as without it, also when a worker is killed."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam_backend.errors import BadRequestError
from sam_backend.images.fetch import ImageCredentials, ImageFetcher, fetch_limits
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.local_executor import LocalExecutor
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.ray_executor import RayExecutor, WorkerOrder, worker_count
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import CONFIG, TOKEN, Store, disc_image, fake_label_studio

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings

RUN = "261124-00000a"
SETTINGS = Settings(model="classical")
ORDER = WorkerOrder(
    RunConfiguration(
        1, detector="everything", points_per_side=6, model="classical", label_map={"object": "face"}, ray_workers=2
    ),
    CONFIG,
    RUN,
    SETTINGS,
    None,
    None,
    ImageCredentials(),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(address="local", num_cpus=3, log_to_driver=False, include_dashboard=False)
    yield ray
    ray.shutdown()


def tasks(number: int) -> list[BulkTask]:
    picture = disc_image()
    return [BulkTask(i, {"image": picture if i != 3 else "data:image/png;base64,AAAA"}) for i in range(1, number + 1)]


def locally(number: int) -> dict[int, Outcome]:
    fetcher = ImageFetcher(LabelStudioCredentials(None, None), fetch_limits(SETTINGS))
    store = store_from_env({"SAM_OFFLINE": "1"})
    preannotator = load_preannotator(ORDER.configuration, CONFIG, RUN, SETTINGS, store, fetcher)
    return {one.task_id: one for one in LocalExecutor(preannotator).run(tasks(number), lambda: False)}


def test_a_cluster_that_is_not_there_is_named() -> None:
    order = replace(ORDER, configuration=replace(ORDER.configuration, ray_address="127.0.0.1:1"))

    with pytest.raises(BadRequestError, match=r"ray_address='127.0.0.1:1'"):
        list(RayExecutor(order).run(tasks(1), lambda: False))


def test_two_workers_give_the_bytes_that_this_process_gives(cluster: Any) -> None:
    outcomes = list(RayExecutor(ORDER).run(tasks(8), lambda: False))

    assert len(outcomes) == 8
    assert {one.task_id: one for one in outcomes} == locally(8)
    assert next(one for one in outcomes if one.task_id == 3).error


def test_a_killed_worker_loses_nothing_and_doubles_nothing(cluster: Any) -> None:
    outcomes = []
    for outcome in RayExecutor(ORDER).run(tasks(12), lambda: False):
        outcomes.append(outcome)
        if len(outcomes) == 3:
            os.kill(_workers()[0], signal.SIGKILL)

    assert sorted(one.task_id for one in outcomes) == list(range(1, 13))
    assert {one.task_id: one for one in outcomes} == locally(12)


def _workers() -> list[int]:
    """Processes of the actors, as Ray names them."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and (entry / "cmdline").read_bytes().startswith(b"ray::Worker")
    ]


def test_a_run_that_is_to_stop_stops_at_once(cluster: Any) -> None:
    stopping: list[bool] = []
    began = 0.0
    seen = 0
    for _ in RayExecutor(ORDER).run(tasks(200), lambda: bool(stopping)):
        seen += 1
        if not stopping:
            stopping.append(True)
            began = time.monotonic()

    assert time.monotonic() - began < 2
    assert seen < 50


def test_one_cpu_always_stays_free() -> None:
    assert worker_count(None, cpus=8, gpus=0) == 7
    assert worker_count(None, cpus=8, gpus=2) == 2
    assert worker_count(2, cpus=3, gpus=0) == 2
    with pytest.raises(BadRequestError, match=r"ray_workers=8 is more than 7: .* one CPU must stay free"):
        worker_count(8, cpus=8, gpus=0)
    with pytest.raises(BadRequestError, match="2 or more are needed"):
        worker_count(None, cpus=1, gpus=0)


def test_a_whole_run_on_ray_writes_every_task_once(cluster: Any, tmp_path: Path) -> None:
    store = Store()
    store.add_tasks(12)
    with fake_label_studio(store) as url:
        run = RunStore(tmp_path).create(replace(ORDER.configuration, engine="ray"))
        progress = work_on(
            run,
            settings=SETTINGS,
            access=LabelStudioCredentials(url, TOKEN),
            store=store_from_env({"SAM_OFFLINE": "1"}),
        )

    assert progress.state == "finished", progress.message
    assert {task: len(found) for task, found in store.predictions.items()} == dict.fromkeys(range(1, 13), 1)
