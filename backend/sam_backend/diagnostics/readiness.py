"""Readiness: whether a click would be answered now, and why not."""

import logging
import threading
from concurrent.futures import Future

import numpy as np

from sam_backend.diagnostics.health_monitor import HealthMonitor
from sam_backend.diagnostics.label_studio_checks import ADDRESS, TOKEN
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.segmenter.loading import ModelLoading
from sam_model.types import Point, Prompt

logger = logging.getLogger(__name__)

TEST_SIZE = (48, 64)  # height and width of the image of the self-test, in pixels


class Readiness:
    """Answers at once; the self-test of the model runs in a thread, once, when readiness is first asked for."""

    def __init__(self, access: LabelStudioCredentials, model: ModelLoading, health_monitor: HealthMonitor) -> None:
        self._access, self._model, self._first_run = access, model, health_monitor
        self._tested: Future[None] | None = None
        self._lock = threading.Lock()

    def problems(self) -> list[str]:
        """Return why a click would not be answered; empty if it would.

        Label Studio counts where the settings name it. What they leave open comes with POST /setup, before any click: a
        service that waited for that unready would never get it behind a load balancer.
        """
        known = self._access.credential
        if known is None or not known.is_url_from_settings:
            return self._model_problems()
        failed = [check for check in self._first_run.label_studio_checks() if not check.ok]
        counted = [check for check in failed if check.name == ADDRESS or (check.name == TOKEN and known.token)]
        return self._model_problems() + [f"{check.name}: {check.problem}" for check in counted]

    def _model_problems(self) -> list[str]:
        if self._model.state != "ready":
            return [f"Model: {self._model.problem or self._model.progress or self._model.state}"]
        with self._lock:
            if self._tested is None:
                self._tested = Future()
                threading.Thread(target=self._test, args=(self._tested,), name="self-test", daemon=True).start()
        if not self._tested.done():
            return ["Model: the self-test is running"]
        error = self._tested.exception()
        return [] if error is None else [f"Model: the self-test failed: {type(error).__name__}: {error}"]

    def _test(self, tested: "Future[None]") -> None:
        """Answer a click and a box on a gray image, as a request would."""
        height, width = TEST_SIZE
        try:
            segmenter = self._model.segmenter(wait_s=0)
            embedding = segmenter.embed(np.full((height, width, 3), 128, np.uint8))
            prompts = [Prompt(points=(Point(width / 2, height / 2, True),)), Prompt(box=(8.0, 8.0, 40.0, 40.0))]
            found = [segmenter.segment(embedding, [prompt])[0].mask.shape for prompt in prompts]
            if found != [TEST_SIZE, TEST_SIZE]:
                raise ValueError(f"masks of shape {found}, needed: {TEST_SIZE}")
        except Exception as error:  # the edge of a thread
            logger.exception("the self-test of model %s failed", self._model.version)
            tested.set_exception(error)
        else:
            tested.set_result(None)
