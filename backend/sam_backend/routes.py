"""The addresses that Label Studio calls, and what it gets back.

Source: label-studio 1.23.2, ml/api_connector.py and ml/models.py; see "How it works" in the README.
"""

import logging

from flask import Blueprint, Response

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import (
    PredictRequest,
    SetupRequest,
    Task,
    WebhookEvent,
    labeling_config_from_json,
)
from sam_backend.responses import json_body, json_response, refusal_without_password, service
from sam_backend.task_predictor import Credentials, image_source

logger = logging.getLogger(__name__)
routes = Blueprint("label_studio", __name__)


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
    if asked.project_id is not None:
        parts.bulk.projects.learn(asked.project_id, asked.extra_params)
    try:
        LabelingConfig.from_xml(asked.labeling_config)
    except BackendError as error:  # the project may get its config later: connecting it must work
        logger.warning("setup of project %s: %s", asked.project, error)
    if asked.project_id is None:
        return json_response({"model_version": parts.model.version})
    return json_response({"model_version": parts.bulk.projects.version_for_setup(asked.project_id)})


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
    """Events of Label Studio, answered at once: "Start Training" and imports may begin a run, the others nothing."""
    event = WebhookEvent.from_json(json_body())
    logger.info("webhook %s", event.action[:80])
    if event.action == "START_TRAINING":
        if (refusal := refusal_without_password(service().settings)) is not None:
            return refusal
        if event.project_id is None:
            raise BadRequestError("project is missing: needed: the project that is to be pre-annotated")
        service().bulk.start_training(event.project_id)
    elif event.action == "TASKS_CREATED" and event.project_id is not None:
        service().bulk.tasks_created(event.project_id, event.task_ids)
    return json_response({"status": "ok", "action": event.action[:80]}, 201)


@routes.post("/predict")
def predict() -> Response:
    """Masks for a person's prompts; for tasks without any, the pre-annotation that their project wants.

    Where it wants none, opening a task gives a head start on its embedding, and no prediction.
    """
    asked = PredictRequest.from_json(json_body())
    credentials = Credentials(asked.login, asked.password)
    if asked.context is None:
        for task in asked.tasks:
            _prefetch(task, asked.labeling_config, credentials)
        answers = service().bulk.answer(asked.tasks, asked.labeling_config, credentials)
        if answers is None:
            answers = [[] for _ in asked.tasks]  # `[]` for a task: nothing is stored for it
        return json_response({"results": answers})
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
