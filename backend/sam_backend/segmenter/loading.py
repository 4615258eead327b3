"""The segmenter of the service, loaded in the background."""

import logging
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillLoadingError
from dataclasses import replace
from typing import Any

from sam_backend.errors import ModelNotReadyError
from sam_backend.redaction import mask_userinfo
from sam_backend.request_pool import slot_released
from sam_backend.segmenter.choice import ModelChoice
from sam_model.interfaces import Segmenter
from sam_model.weights.download import Progress
from sam_model.weights.errors import WeightsError

logger = logging.getLogger(__name__)


def download_text(progress: Progress) -> str:
    """Return a progress for people, such as `10.5 of 40.7 MB downloaded`."""
    return f"{progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB downloaded"


class ModelLoading:
    """Loads a segmenter once, in a thread. `start` creates the thread, so the process may fork before."""

    def __init__(self, choice: ModelChoice) -> None:
        self.name = choice.name
        self.version = choice.version
        self._choice = choice
        self._loaded: Future[Segmenter[Any]] = Future()
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start loading, unless it has started."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="load-model", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        start = time.monotonic()
        try:
            segmenter = self._load()
        except Exception as error:  # noqa: BLE001  # the outermost call of a thread: waiting requests must get any error
            logger.error("could not load model %s: %s", self.name, error)
            self._loaded.set_exception(ModelNotReadyError(f"could not load model {self.name}: {error}"))
            return
        logger.info("model %s is ready after %.1f s", self.version, time.monotonic() - start)
        self._loaded.set_result(segmenter)

    def _load(self) -> Segmenter[Any]:
        while True:
            try:
                return self._choice.load(self._note_progress)
            except WeightsError as error:
                fallback = self._choice.fallback
                if fallback is None:
                    raise
                logger.warning("could not load model %s: %s; falling back to %s", self.name, error, fallback.name)
                reason = f"could not load model {self.name}: {mask_userinfo(str(error))}"
                self._choice = replace(fallback, reason=reason)
                self.name, self.version = self._choice.name, self._choice.version

    def _note_progress(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def progress(self) -> str | None:
        """Return how much of the weights is downloaded; None if no download is running."""
        return None if self.download is None else download_text(self.download)

    @property
    def download(self) -> Progress | None:
        """Return the progress of the download of the weights; None if no download is running."""
        if self.state != "loading" or self._progress is None or self._progress.done == self._progress.total:
            return None
        return self._progress

    @property
    def reason(self) -> str:
        """Return why SAM_MODEL=auto means this model; empty for a model that was named."""
        return self._choice.reason

    @property
    def state(self) -> str:
        """Return `loading`, `ready` or `failed`."""
        if not self._loaded.done():
            return "loading"
        return "failed" if self._loaded.exception() else "ready"

    @property
    def problem(self) -> str | None:
        """Return why loading failed; None unless it did."""
        return mask_userinfo(str(self._loaded.exception())) if self.state == "failed" else None  # of a mirror

    @property
    def ready_segmenter(self) -> Segmenter[Any] | None:
        """Return the segmenter; None while it is loading, or if loading failed."""
        return self._loaded.result() if self.state == "ready" else None

    def segmenter(self, wait_s: float | None) -> Segmenter[Any]:
        """Return the segmenter, after waiting for it for up to `wait_s` seconds; None waits without a limit.

        Raises:
            ModelNotReadyError: it is still being loaded, or could not be loaded.
        """
        self.start()
        if self._loaded.done():
            return self._loaded.result()
        try:
            with slot_released():
                return self._loaded.result(timeout=wait_s)
        except StillLoadingError:
            raise ModelNotReadyError(f"model {self.name} is still loading after {wait_s:g} s; try again") from None
