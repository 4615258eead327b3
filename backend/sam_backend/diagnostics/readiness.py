"""Readiness: whether the backend can answer a click now, and why not."""

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

TEST_SIZE = (48, 64)  # height and width of the self-test's image, in pixels


class Readiness:
    """Return problems at once; the model's self-test runs once, in a thread, after the first call."""

    def __init__(self, credentials: LabelStudioCredentials, model: ModelLoading, health_monitor: HealthMonitor) -> None:
        self._credentials, self._model, self._health_monitor = credentials, model, health_monitor
        self._self_test: Future[None] | None = None
        self._lock = threading.Lock()

    def problems(self) -> list[str]:
        """Return why a click cannot be answered; empty if it can.

        Label Studio's address and token count only if the settings name them. Otherwise they come with POST /setup,
        and behind a load balancer no /setup would reach a backend that is not ready.
        """
        known = self._credentials.credential
        if known is None or not known.is_url_from_settings:
            return self._model_problems()
        failed = [check for check in self._health_monitor.label_studio_checks() if not check.ok]
        counted = [check for check in failed if check.name == ADDRESS or (check.name == TOKEN and known.token)]
        return self._model_problems() + [f"{check.name}: {check.problem}" for check in counted]

    def _model_problems(self) -> list[str]:
        if self._model.state != "ready":
            return [f"Model: {self._model.problem or self._model.progress or self._model.state}"]
        with self._lock:
            if self._self_test is None:
                self._self_test = Future()
                threading.Thread(
                    target=self._run_self_test, args=(self._self_test,), name="self-test", daemon=True
                ).start()
        if not self._self_test.done():
            return ["Model: the self-test is running"]
        error = self._self_test.exception()
        return [] if error is None else [f"Model: the self-test failed: {type(error).__name__}: {error}"]

    def _run_self_test(self, result: "Future[None]") -> None:
        """Segment a gray image with a point and with a box, as a request would."""
        height, width = TEST_SIZE
        try:
            segmenter = self._model.segmenter(wait_s=0)
            embedding = segmenter.embed(np.full((height, width, 3), 128, np.uint8))
            prompts = [Prompt(points=(Point(width / 2, height / 2, True),)), Prompt(box=(8.0, 8.0, 40.0, 40.0))]
            shapes = [segmenter.segment(embedding, [prompt])[0].mask.shape for prompt in prompts]
            if shapes != [TEST_SIZE, TEST_SIZE]:
                raise ValueError(f"masks have the shapes {shapes}, expected: {TEST_SIZE}")
        except Exception as error:  # the edge of a thread
            logger.exception("self-test of model %s failed", self._model.version)
            result.set_exception(error)
        else:
            result.set_result(None)
