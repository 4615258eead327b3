"""The addresses that Label Studio calls, and what it gets back.

Source: label-studio 1.23.2, ml/api_connector.py and ml/models.py; see "How it works" in the README.
"""

import logging
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request

from sam_backend.assembly import Service
from sam_backend.errors import BackendError, BadRequestError
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import (
    PredictRequest,
    SetupRequest,
    Task,
    labeling_config_from_json,
    webhook_action_from_json,
)
from sam_backend.task_predictor import Credentials, image_source

logger = logging.getLogger(__name__)
routes = Blueprint("label_studio", __name__)


def service() -> Service:
    """The parts that this app was made of."""
    found: Service = current_app.extensions["service"]
    return found


def json_response(value: object, status: int = 200) -> Response:
    """`value` as JSON; numpy arrays become lists."""
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, mimetype="application/json")


def json_body() -> Any:
    """The body of this request, read as JSON whatever its content type says.

    Raises:
        BadRequestError: it is no JSON.
    """
    try:
        return orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None


@routes.get("/")
@routes.get("/health")
def health() -> Response:
    """Alive, and which model answers: at once, whatever the model does."""
    parts = service()
    answer = {
        "status": "UP",
        "model_class": "label-studio-sam",
        "model": parts.model.name,
        "model_version": parts.model.version,
        "state": parts.model.state,
    }
    if parts.model.progress:
        answer["progress"] = parts.model.progress
    if parts.model.problem:
        answer["problem"] = parts.model.problem
    if parts.model.name == "classical":
        answer["note"] = "weight-free classical segmenter, not SAM"
    return json_response(answer)


@routes.get("/ready")
def ready() -> Response:
    """200 when a click would be answered at once, 503 before."""
    model = service().model
    return json_response({"state": model.state, "problem": model.problem}, 200 if model.state == "ready" else 503)


@routes.post("/setup")
def setup() -> Response:
    """A project introduces itself; the answer tells it our model version."""
    asked = SetupRequest.from_json(json_body())
    parts = service()
    parts.access.learn_from_setup(asked.hostname, asked.access_token)
    try:
        LabelingConfig.from_xml(asked.labeling_config)
    except BackendError as error:  # the project may get its config later: connecting it must work
        logger.warning("setup of project %s: %s", asked.project, error)
    return json_response({"model_version": parts.model.version})


@routes.get("/versions")
def versions() -> Response:
    """The model versions there are: one."""
    return json_response({"versions": [service().model.version]})


@routes.post("/validate")
def validate() -> Response:
    """Whether a labeling config can be answered: 200, or 400 with the reason."""
    config = LabelingConfig.from_xml(labeling_config_from_json(json_body()))
    for image in config.images or (config.image(),):
        config.mask_tags(image.name, (), None)
    return json_response({"status": "ok"})


@routes.post("/webhook")
def webhook() -> Response:
    """Events of Label Studio; none needs an action, so each is answered at once."""
    action = webhook_action_from_json(json_body())
    logger.info("webhook %s", action[:80])
    return json_response({"status": "ok", "action": action[:80]}, 201)


@routes.post("/predict")
def predict() -> Response:
    """Masks for a person's prompts; for a task that was opened, a head start on its embedding and no prediction."""
    asked = PredictRequest.from_json(json_body())
    credentials = Credentials(asked.login, asked.password)
    if asked.context is None:
        for task in asked.tasks:
            _prefetch(task, asked.labeling_config, credentials)
        return json_response({"results": [[] for _ in asked.tasks]})  # `[]` for a task: nothing is stored for it
    if not asked.tasks:
        raise BadRequestError("tasks is empty: there is nothing that params.context belongs to")
    config = LabelingConfig.from_xml(asked.labeling_config)
    results = []
    for task in asked.tasks:
        try:
            results.append(service().predictor.predict(task, asked.context, config, credentials).to_json())
        except BackendError as error:
            raise type(error)(f"{task.name}: {error}") from error
    return json_response({"results": results})


def _prefetch(task: Task, labeling_config: str, credentials: Credentials) -> None:
    parts = service()
    if not parts.settings.prefetch:
        return
    try:
        config = LabelingConfig.from_xml(labeling_config)
        source = image_source(task, config)
    except BackendError as error:
        logger.warning("%s cannot be prefetched: %s", task.name, error)
        return
    if source.key not in parts.cache:
        parts.prefetcher.submit(source.key, lambda: parts.predictor.embedding(task, source, credentials))
