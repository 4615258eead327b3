"""Pre-annotation on a Ray cluster: one actor per worker, with its own models; a task is sent to the least busy one.

Actors are used, not Ray Data: the number of tasks is not known in advance, and a run must stop within a moment. Ray
restarts an actor that dies and sends its task again (`max_restarts`, `max_task_retries`), so no outcome is lost. Only
this process writes outcomes to the ledger, so none is written twice. One CPU is always left free: if actors use all of
them, Ray's other work waits forever.
"""

import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ray

from sam_backend.errors import BadRequestError
from sam_backend.exemplars.example_set import ExampleSet
from sam_backend.images.fetch import ImageCredentials, ImageFetcher, fetch_limits
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.calibration import Calibration
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.settings import Settings

logger = logging.getLogger(__name__)

TASKS_PER_WORKER = 3  # running and waiting; one is fetched while another is segmented
THREADS_PER_WORKER = 2
POLL_S = 0.2
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class WorkerOrder:
    """All that a worker needs to make the same predictions as this process; it is sent to other machines."""

    configuration: RunConfiguration
    labeling_config: str
    run_id: str
    settings: Settings
    label_studio_url: str | None
    label_studio_token: str | None
    credentials: ImageCredentials
    examples: ExampleSet | None = None
    calibration: Calibration | None = None


class Worker:
    """A worker, which loads the models once."""

    def __init__(self, order: WorkerOrder) -> None:
        from sam_backend.segmenter.weight_store import weight_store

        access = LabelStudioCredentials(order.label_studio_url, order.label_studio_token)
        self._preannotator = load_preannotator(
            order.configuration,
            order.labeling_config,
            order.run_id,
            order.settings,
            weight_store(Settings.from_env()),  # of this machine, which may differ from the one that started the run
            ImageFetcher(access, fetch_limits(order.settings)),
            credentials=order.credentials,
            examples=order.examples,
            calibration=order.calibration,
        )

    def preannotate(self, task: BulkTask) -> Outcome:
        """Return the task's prediction, or its error."""
        return self._preannotator.preannotate(task)


class RayExecutor:
    """An `Executor` on a Ray cluster, or on Ray started on this machine."""

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._stored_order: Any = None

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """Yield outcomes as they become ready; tasks that are running when `is_stopping()` becomes true get none.

        Raises:
            BadRequestError: the cluster cannot be reached, or has too few CPUs or GPUs.
        """
        is_own = _connect(self._order.configuration.ray_address)
        try:
            yield from self._run(tasks, is_stopping)
        finally:
            if is_own:
                ray.shutdown()

    def _run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        workers = self._workers()
        load = [0] * len(workers)
        running: dict[Any, int] = {}
        ahead = iter(tasks)
        is_more = True
        try:
            while (is_more or running) and not is_stopping():
                while is_more and len(running) < TASKS_PER_WORKER * len(workers) and not is_stopping():
                    task = next(ahead, None)
                    is_more = task is not None
                    if task is not None:
                        index = load.index(min(load))
                        running[workers[index].preannotate.remote(task)] = index
                        load[index] += 1
                done, _ = ray.wait(list(running), num_returns=1, timeout=POLL_S) if running else ([], [])
                for reference in done:
                    load[running.pop(reference)] -= 1
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
        self._stored_order = ray.put(self._order)  # the reference is kept: a restarted worker reads it again
        return [actor.remote(self._stored_order) for _ in range(number)]


def worker_count(configured: int | None, cpus: int, gpus: int) -> int:
    """Return the number of workers: as configured, else one per GPU, else one per CPU except one.

    Raises:
        BadRequestError: no CPU would be free, or there are too few GPUs.
    """
    max_workers = min(cpus - 1, gpus) if gpus else cpus - 1
    if max_workers < 1:
        raise BadRequestError(f"the Ray cluster has {cpus} CPU(s): one must stay free, so 2 or more are needed")
    if configured is not None and configured > max_workers:
        raise BadRequestError(
            f"ray_workers={configured} is more than {max_workers}: the Ray cluster has {cpus} CPUs and {gpus} GPUs, "
            "and one CPU must stay free"
        )
    return configured or max_workers


def _connect(address: str | None) -> bool:
    """Connect to a cluster, or start Ray; return whether Ray was started and must be shut down after the run.

    Raises:
        BadRequestError: no cluster answers at the address.
    """
    if ray.is_initialized():
        return False
    _check_reachable(address)
    try:
        ray.init(
            address=address or "local", log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadRequestError(f"ray_address={address!r}: no Ray cluster answers there ({error})") from None
    return True


def _check_reachable(address: str | None) -> None:
    """Refuse an address that does not answer; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise BadRequestError(f"ray_address={address!r}: no Ray cluster answers there ({reason})") from None
