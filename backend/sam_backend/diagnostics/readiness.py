"""Readiness: whether the backend can answer a click now, and why not."""

import logging
import threading
from concurrent.futures import Future

from sam_backend.diagnostics.health_monitor import HealthMonitor
from sam_backend.diagnostics.label_studio_checks import ADDRESS, TOKEN
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.segmenter.models import Models
from sam_backend.segmenter.self_test import check_segmenter

logger = logging.getLogger(__name__)


class Readiness:
    """Return problems at once; the self-test of the first model runs once, in a thread, after the first call."""

    def __init__(self, credentials: LabelStudioCredentials, models: Models, health_monitor: HealthMonitor) -> None:
        self._credentials, self._models, self._health_monitor = credentials, models, health_monitor
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
        model = self._models.default
        if model.state != "ready":
            return [f"Model: {model.problem or model.progress or model.state}"]
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
        model = self._models.default
        try:
            check_segmenter(model.segmenter(wait_s=0))
        except Exception as error:  # the edge of a thread
            logger.exception("self-test of model %s failed", model.version)
            result.set_exception(error)
        else:
            result.set_result(None)
