"""Runs the stages on a Ray cluster: an actor for each worker, each with models of its own, fed one task at a time.

Plain actors, not Ray Data: a run's tasks come from an iterator that is not known to end, and a run must stop within a
moment. Ray starts an actor that dies anew and gives its task to it again (`max_restarts`, `max_task_retries`), so that
no outcome is lost; outcomes go to the ledger once, here, so that none is doubled. One CPU is always left free: when
actors hold them all, whatever else Ray must do waits for ever.
"""

import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ray

from sam_backend.errors import BadRequestError
from sam_backend.images.fetch import ImageCredentials, ImageFetcher, fetch_limits
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.settings import Settings

logger = logging.getLogger(__name__)

AHEAD = 3  # tasks that each worker has or waits for: one is fetched while another is looked at
THREADS_PER_WORKER = 2
POLL_S = 0.2
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class WorkerOrder:
    """All that a worker needs to make the same predictions as this process would; it travels to other machines."""

    configuration: RunConfiguration
    labeling_config: str
    run_id: str
    settings: Settings
    label_studio_url: str | None
    label_studio_token: str | None
    credentials: ImageCredentials


class Worker:
    """One worker: models loaded once, then a task at a time."""

    def __init__(self, order: WorkerOrder) -> None:
        import os

        from sam_model.weights.store import store_from_env

        access = LabelStudioCredentials(order.label_studio_url, order.label_studio_token)
        self._preannotator = load_preannotator(
            order.configuration,
            order.labeling_config,
            order.run_id,
            order.settings,
            store_from_env(os.environ),
            ImageFetcher(access, fetch_limits(order.settings)),
            credentials=order.credentials,
        )

    def preannotate(self, task: BulkTask) -> Outcome:
        """The task's prediction, or what is wrong with it."""
        return self._preannotator.preannotate(task)


class RayExecutor:
    """An `Executor` on a Ray cluster, or on a Ray of our own on this machine."""

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._stored_order: Any = None

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """The outcomes, as they are ready; what is in work when `is_stopping()` turns true gets none.

        Raises:
            BadRequestError: no such cluster, or more workers than it has room for.
        """
        is_ours = _connect(self._order.configuration.ray_address)
        try:
            yield from self._run(tasks, is_stopping)
        finally:
            if is_ours:
                ray.shutdown()

    def _run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        workers = self._workers()
        load = [0] * len(workers)
        in_work: dict[Any, int] = {}
        ahead = iter(tasks)
        is_more = True
        try:
            while (is_more or in_work) and not is_stopping():
                while is_more and len(in_work) < AHEAD * len(workers) and not is_stopping():
                    task = next(ahead, None)
                    is_more = task is not None
                    if task is not None:
                        place = load.index(min(load))
                        in_work[workers[place].preannotate.remote(task)] = place
                        load[place] += 1
                done, _ = ray.wait(list(in_work), num_returns=1, timeout=POLL_S) if in_work else ([], [])
                for reference in done:
                    load[in_work.pop(reference)] -= 1
                    yield ray.get(reference)
        finally:
            for worker in workers:
                ray.kill(worker)

    def _workers(self) -> list[Any]:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        device = self._order.settings.device
        gpus = int(resources.get("GPU", 0)) if device == "auto" or device.startswith("cuda") else 0
        number = worker_count(self._order.configuration.ray_workers, int(resources.get("CPU", 0)), gpus)
        logger.info("Ray: %d workers on %d CPUs and %d GPUs", number, int(resources.get("CPU", 0)), gpus)
        actor = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=THREADS_PER_WORKER,
        )
        self._stored_order = ray.put(self._order)  # kept: a worker that is started anew needs it again
        return [actor.remote(self._stored_order) for _ in range(number)]


def worker_count(asked: int | None, cpus: int, gpus: int) -> int:
    """How many workers: as many as asked for, else one a GPU, else one a CPU but for the one that stays free.

    Raises:
        BadRequestError: no CPU would stay free, or there are fewer GPUs.
    """
    most = min(cpus - 1, gpus) if gpus else cpus - 1
    if most < 1:
        raise BadRequestError(f"the Ray cluster has {cpus} CPU(s): one must stay free, so 2 or more are needed")
    if asked is not None and asked > most:
        raise BadRequestError(
            f"ray_workers={asked}: the Ray cluster has {cpus} CPUs and {gpus} GPUs for it; one CPU must stay free, "
            f"since Ray waits for ever when actors hold them all; at most {most} here"
        )
    return asked or most


def _connect(address: str | None) -> bool:
    """Connect to the cluster; whether it is one of our own, to be ended with the run.

    Raises:
        BadRequestError: there is no cluster at the address.
    """
    if ray.is_initialized():
        return False
    _check_that_somebody_answers(address)
    try:
        ray.init(
            address=address or "local", log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadRequestError(f"ray_address={address!r}: no Ray cluster answers there ({error})") from None
    return True


def _check_that_somebody_answers(address: str | None) -> None:
    """Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise BadRequestError(f"ray_address={address!r}: no Ray cluster answers there ({reason})") from None
