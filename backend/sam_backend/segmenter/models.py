"""The models of the service: the default one, which can be replaced while it answers, and those of projects."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sam_backend.errors import BackendError
from sam_backend.redaction import mask_userinfo
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.request_model import RequestModel
from sam_backend.segmenter.self_test import check_segmenter
from sam_model.weights.download import Progress

logger = logging.getLogger(__name__)

RETRY_S = 60.0  # after which a model of a project that could not be loaded is loaded again


class SwitchRunningError(BackendError):
    """Another switch of the model has not ended."""

    status = 409


@dataclass
class Switch:
    """A switch to another model: running, done, or failed."""

    name: str
    loading: ModelLoading | None = None
    problem: str = ""
    is_done: bool = False

    @property
    def state(self) -> str:
        """Return `loading`, `done` or `failed`."""
        return "done" if self.is_done else "failed" if self.problem else "loading"

    @property
    def download(self) -> Progress | None:
        """Return the progress of the download of its weights; None if no download is running."""
        return self.loading.download if self.loading is not None else None


class Models:
    """The default model and the models of projects. Threads may share it."""

    def __init__(
        self,
        default: ModelLoading,
        of_projects: Mapping[str, ModelChoice] | None = None,
        max_bytes: int = 0,
        wait_s: float = 20.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the models; nothing is loaded before `start` or the first request.

        Args:
            default: answers unless a project asks for another one.
            of_projects: models that a project may ask for, by name; each is loaded with its first request.
            max_bytes: size of the weights of the models of projects that are loaded at the same time.
            wait_s: how long a request waits for a model that is loading.
            clock: seconds.
        """
        self._default = default
        self._of_projects = dict(of_projects or {})
        self._max_bytes, self._wait_s, self._clock = max_bytes, wait_s, clock
        self._loaded: OrderedDict[str, ModelLoading] = OrderedDict()  # of projects, the least recently used first
        self._retry_at: dict[str, float] = {}
        self._switch: Switch | None = None
        self._after_switch: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def default(self) -> ModelLoading:
        """Return the model that answers unless a project asks for another one."""
        return self._default

    @property
    def names_for_projects(self) -> tuple[str, ...]:
        """Return the models that a project may ask for, in addition to the default one."""
        return tuple(self._of_projects)

    @property
    def loaded_names(self) -> tuple[str, ...]:
        """Return the models of projects that are loaded or being loaded, the least recently used first."""
        with self._lock:
            return tuple(self._loaded)

    def for_request(self, name: str = "auto") -> RequestModel:
        """Return the model of one request, and count that as a use.

        Args:
            name: that the project asks for; `auto`, and a model that projects may not ask for, mean the default one.
        """
        default = self._default
        if name == default.name or name not in self._of_projects:
            return RequestModel(default, default, self._wait_s)
        return RequestModel(self._of_project(name), default, self._wait_s)

    def version(self, name: str = "auto") -> str:
        """Return the model version of a project's predictions; nothing is loaded."""
        choice = None if name == self._default.name else self._of_projects.get(name)
        return self._default.version if choice is None else choice.version

    def _of_project(self, name: str) -> ModelLoading:
        with self._lock:
            found = self._loaded.get(name)
            if found is not None and found.state == "failed":
                if self._clock() < self._retry_at.setdefault(name, self._clock() + RETRY_S):
                    return found
                found = None
            if found is None:
                self._retry_at.pop(name, None)
                found = self._loaded[name] = ModelLoading(self._of_projects[name])
            self._loaded.move_to_end(name)
            self._unload_others(name)
            return found

    def _unload_others(self, kept: str) -> None:
        """Unload the least recently used models until the others fit; requests that use one finish with it."""
        while self._bytes() > self._max_bytes and next(iter(self._loaded)) != kept:
            name, _ = self._loaded.popitem(last=False)
            logger.info("unloading model %s: SAM_MODELS_MIB is reached", name)

    def _bytes(self) -> int:
        return sum(self._of_projects[name].weights_bytes() for name in self._loaded)

    @property
    def switch(self) -> Switch | None:
        """Return the switch that is running or ended last; None if there was none."""
        return self._switch

    def call_after_switch(self, release: Callable[[], None]) -> None:
        """Call `release` after each switch: it gives up what refers to the former default model."""
        self._after_switch.append(release)

    def switch_to(
        self, name: str, choose: Callable[[], ModelChoice], on_done: Callable[[], None] = lambda: None
    ) -> Switch:
        """Load a model in the background; once it has passed its self-test, it becomes the default model.

        Until then, and if it cannot be loaded, the present model answers. Requests that began before finish with the
        model that they began with.

        Args:
            name: of the model.
            choose: returns the model; called in the thread that loads it.
            on_done: called after the switch.

        Raises:
            SwitchRunningError: another switch is running.
        """
        with self._lock:
            running = self._switch
            if running is not None and running.state == "loading":
                raise SwitchRunningError(f"could not switch to {name}: the switch to {running.name} is running; wait")
            switch = self._switch = Switch(name)
        threading.Thread(target=self._run, args=(switch, choose, on_done), name="switch-model", daemon=True).start()
        return switch

    def _run(self, switch: Switch, choose: Callable[[], ModelChoice], on_done: Callable[[], None]) -> None:
        try:
            loading = switch.loading = self._loaded.get(switch.name) or ModelLoading(choose())
            check_segmenter(loading.segmenter(None))
        except Exception as error:  # noqa: BLE001  # the edge of a thread; the present model goes on
            switch.problem = mask_userinfo(str(error)) or type(error).__name__
            logger.error("could not switch to model %s: %s; %s goes on", switch.name, error, self._default.name)
            return
        with self._lock:
            before, self._default = self._default, loading
            self._loaded.pop(loading.name, None)
            switch.is_done = True
        logger.info("model %s answers clicks in place of %s", loading.version, before.version)
        for release in self._after_switch:
            release()
        on_done()
