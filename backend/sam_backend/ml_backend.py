"""This backend for people who run their models with `label-studio-ml start`; answers as `label-studio-sam serve` does.

The only importer of label_studio_ml, which no other part needs. It runs under both generations of that package: 1.0.9,
the last on PyPI, and the 2.x of its repository. Settings are the same variables of the environment.

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
        "redis rq colorama attrs label-studio-tools`; without it, `label-studio-sam serve` gives the same answers"
    ) from error
try:
    from label_studio_ml.response import ModelResponse
except ImportError:  # 1.0.9
    ModelResponse = None

logger = logging.getLogger(__name__)

Json = Any


class SegmentAnything(LabelStudioMLBase):  # type: ignore[misc]  # label-studio-ml ships no types
    """The model that label-studio-ml makes anew at its will; what is heavy is made once a process and shared."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None, **kwargs: Any) -> None:
        """
        Args:
            project_id: of 2.x; 1.0.9 does not tell it.
            label_config: the project's labeling config.
            kwargs: of 1.0.9: hostname, access_token, model_version, train_output.
        """
        if ModelResponse is None:
            super().__init__(label_config=label_config, **kwargs)
        else:
            super().__init__(project_id, label_config=label_config)
        if has_request_context() and request.path == "/setup":
            _answered_in_our_words(lambda: {"model_version": self._set_up(_body())})

    def setup(self) -> None:
        """2.x asks for the version here."""
        self.set("model_version", shared_service().model.version)

    def _set_up(self, body: Mapping[str, Json]) -> str:
        version = ml_api.setup(shared_service(), SetupRequest.from_json(orjson.dumps(body)))
        if ModelResponse is not None:
            self.set("model_version", version)
        return version

    def predict(self, tasks: list[Json], context: Json = None, **kwargs: Any) -> Json:
        """Masks for a person's prompts, else the pre-annotation that the project wants, for each task.

        Args:
            tasks: as Label Studio sends them.
            context: the prompts: {"result": [region, ...]}; None or {} where nobody waits for an answer.
            kwargs: login and password for images behind a password.

        Returns:
            Predictions as dictionaries (1.0.9) or a ModelResponse (2.x).

        Raises:
            BackendError: no answer can be given, where there is no request that could get it as its answer.
        """
        # 1.0.9 keeps one model for all projects, made with the config of whichever introduced itself last: what
        # belongs to these tasks stands in their own request
        asked = _body() if has_request_context() and request.path == "/predict" else {}
        body = {
            "tasks": tasks,
            "project": asked.get("project", getattr(self, "project_id", None)),
            "label_config": asked.get("label_config", self.label_config),
            "params": {**kwargs, "context": context or None},
        }
        results: list[Json] = []

        def answer() -> None:
            found = ml_api.predict(shared_service(), PredictRequest.from_json(orjson.dumps(body)))
            results.extend(orjson.loads(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)))

        _answered_in_our_words(answer)
        return results if ModelResponse is None else ModelResponse(predictions=results)

    def fit(self, event: Json, data: Json = None, **kwargs: Any) -> dict[str, Json]:
        """2.x: "Start Training" begins a pre-annotation of the project. 1.0.9 calls from another process: nothing."""
        if ModelResponse is not None and isinstance(data, Mapping):
            begun = WebhookEvent.from_json(orjson.dumps({**data, "action": event}))
            _answered_in_our_words(lambda: ml_api.webhook(shared_service(), begun))
        return {}


def _answer_before_setup() -> None:
    """Let 1.0.9 answer a /predict that comes before any /setup, such as after a restart; it raises otherwise."""
    from label_studio_ml.model import LabelStudioMLManager

    predict = LabelStudioMLManager.predict.__func__

    def predict_with_a_model(cls: Any, *arguments: Any, **keywords: Any) -> Any:
        if not cls._current_model:
            cls.fetch()  # without the request's config, which may be broken: SegmentAnything.predict reads it
        return predict(cls, *arguments, **keywords)

    LabelStudioMLManager.predict = classmethod(predict_with_a_model)


if ModelResponse is None:
    _answer_before_setup()  # at import: nothing of ours is called before


@functools.cache
def shared_service() -> Service:
    """The service of this process, made and started when first asked for.

    Raises:
        ValueError: a variable of the environment that cannot be used.
    """
    settings = Settings.from_env()
    service = assemble(settings, weight_store(settings))
    service.start()
    atexit.register(service.close)
    return service


def _body() -> Mapping[str, Json]:
    found = request.get_json(force=True, silent=True)
    return found if isinstance(found, Mapping) else {}


def _answered_in_our_words(call: Callable[[], Json]) -> None:
    """Make the call; what it gives (unless None), or why it fails, replaces the answer of label-studio-ml's server.

    That server would answer every error with status 500 and its traceback.
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
        answer, status = {"error": "internal error; the backend's log tells more"}, 500
    if answer is not None:
        response = Response(orjson.dumps(answer), status, mimetype="application/json")
        after_this_request(lambda _: response)
