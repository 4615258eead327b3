"""The model class for `label-studio-ml start`, with the answers of `label-studio-sam serve`.

No other module imports label_studio_ml. The class runs under both versions of that package: 1.0.9, the last on PyPI,
and 2.x, in its repository. The settings are the same environment variables.

Source: label-studio-ml 1.0.9, model.py and api.py; HumanSignal/label-studio-ml-backend, label_studio_ml/model.py and
api.py @ 010cc2ab (constructor, `setup`, `predict`, `fit`, `ModelResponse`).
"""

import atexit
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from flask import Response, after_this_request, has_request_context, request

from sam_backend.errors import BackendError
from sam_backend.protocol.requests import PredictRequest, SetupRequest, WebhookEvent
from sam_backend.segmenter.weight_store import weight_store
from sam_backend.service import ml_api
from sam_backend.service.service import Service, assemble
from sam_backend.settings import Settings

try:
    from label_studio_ml.model import LabelStudioMLBase
except ImportError as error:
    raise ImportError(
        "sam_backend.ml_backend needs label-studio-ml: `pip install --no-deps label-studio-ml==1.0.9` and `pip install "
        "redis rq colorama attrs label-studio-tools`; `label-studio-sam serve` gives the same answers without it"
    ) from error
try:
    from label_studio_ml.response import ModelResponse
except ImportError:  # 1.0.9
    ModelResponse = None

logger = logging.getLogger(__name__)

Json = Any


class SegmentAnything(LabelStudioMLBase):  # type: ignore[misc]  # label-studio-ml ships no types
    """A model that label-studio-ml creates as often as it needs; all of them share one service per process."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None, **kwargs: Any) -> None:
        """
        Args:
            project_id: only from 2.x.
            label_config: the project's labeling config.
            kwargs: only from 1.0.9: hostname, access_token, model_version, train_output.
        """
        if ModelResponse is None:
            super().__init__(label_config=label_config, **kwargs)
        else:
            super().__init__(project_id, label_config=label_config)
        if has_request_context() and request.path == "/setup":
            _replace_answer(lambda: {"model_version": self._set_up(_body())})

    def setup(self) -> None:
        """Set the model version, which 2.x reads after this call."""
        self.set("model_version", shared_service().model.version)

    def _set_up(self, body: Mapping[str, Json]) -> str:
        version = ml_api.setup(shared_service(), SetupRequest.from_json(orjson.dumps(body)))
        if ModelResponse is not None:
            self.set("model_version", version)
        return version

    def predict(self, tasks: list[Json], context: Json = None, **kwargs: Any) -> Json:
        """Return masks for prompts, without prompts the project's pre-annotation, for each task.

        Args:
            tasks: as Label Studio sends them.
            context: the prompts: {"result": [region, ...]}; None or {} without prompts.
            kwargs: login and password of images that need them.

        Returns:
            Predictions as dictionaries (1.0.9) or a ModelResponse (2.x).

        Raises:
            BackendError: a task cannot be answered; inside a request, the answer holds the error.
        """
        # 1.0.9 keeps one model for all projects, with the labeling config of the project registered last: the config
        # and the project of these tasks are in their own request
        sent = _body() if has_request_context() and request.path == "/predict" else {}
        body = {
            "tasks": tasks,
            "project": sent.get("project", getattr(self, "project_id", None)),
            "label_config": sent.get("label_config", self.label_config),
            "params": {**kwargs, "context": context or None},
        }
        results: list[Json] = []

        def answer() -> None:
            service = shared_service()
            with service.clicks.recording() as click:
                found = ml_api.predict(service, PredictRequest.from_json(orjson.dumps(body)), click)
            results.extend(orjson.loads(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)))

        _replace_answer(answer)
        return results if ModelResponse is None else ModelResponse(predictions=results)

    def fit(self, event: Json, data: Json = None, **kwargs: Any) -> dict[str, Json]:
        """Start a run for "Start Training" (2.x); do nothing under 1.0.9, which calls this in another process."""
        if ModelResponse is not None and isinstance(data, Mapping):
            webhook = WebhookEvent.from_json(orjson.dumps({**data, "action": event}))
            _replace_answer(lambda: ml_api.webhook(shared_service(), webhook))
        return {}


def _answer_before_setup() -> None:
    """Make 1.0.9 answer a /predict before any /setup, such as after a restart; it raises otherwise."""
    from label_studio_ml.model import LabelStudioMLManager

    predict = LabelStudioMLManager.predict.__func__

    def predict_with_a_model(cls: Any, *arguments: Any, **keywords: Any) -> Any:
        if not cls._current_model:
            cls.fetch()  # without the request's config, which may be invalid: SegmentAnything.predict reads it
        return predict(cls, *arguments, **keywords)

    LabelStudioMLManager.predict = classmethod(predict_with_a_model)


if ModelResponse is None:
    _answer_before_setup()  # at import: label-studio-ml calls no function of this module before


@functools.cache
def shared_service() -> Service:
    """Return the service of this process; the first call builds and starts it.

    Raises:
        ValueError: an environment variable has a bad value.
    """
    settings = Settings.from_env()
    service = assemble(settings, weight_store(settings))
    service.start()
    atexit.register(service.close)
    return service


def _body() -> Mapping[str, Json]:
    found = request.get_json(force=True, silent=True)
    return found if isinstance(found, Mapping) else {}


def _replace_answer(call: Callable[[], Json]) -> None:
    """Make the call; its result (unless None) or its error replaces the answer of label-studio-ml's server.

    That server answers every error with status 500 and a traceback.
    """
    try:
        answer, status = call(), 200
    except BackendError as error:
        if not has_request_context():
            raise
        logger.warning("%s -> %d: %s", request.path, error.status, error)
        answer, status = {"error": str(error)}, error.status
    except Exception:
        if not has_request_context():
            raise
        logger.exception("%s failed", request.path)
        answer, status = {"error": "internal error: see the backend's log"}, 500
    if answer is not None:
        response = Response(orjson.dumps(answer), status, mimetype="application/json")
        after_this_request(lambda _: response)
