"""HTTP API that Label Studio calls; see docs/http-api.md.

Source: label-studio 1.23.2, ml/api_connector.py and ml/models.py.
"""

import logging

from flask import Blueprint, Response

from sam_backend import metrics
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import PredictRequest, SetupRequest, WebhookEvent, labeling_config_from_json
from sam_backend.service import ml_api
from sam_backend.service.ml_api import START_TRAINING, TASKS_CREATED
from sam_backend.shapes.targets import PromptTags, click_target
from sam_backend.web.authentication import refusal_without_webhook_secret
from sam_backend.web.responses import json_response, read_body, service

logger = logging.getLogger(__name__)
routes = Blueprint("label_studio", __name__)


@routes.get("/health")
def health() -> Response:
    """Return the model's name, version and state at once, also while it is loading."""
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


@routes.post("/setup")
def setup() -> Response:
    """Register a project and return the model version for it."""
    version = ml_api.setup(service(), SetupRequest.from_json(read_body()))
    return json_response({"model_version": version})


@routes.get("/versions")
def versions() -> Response:
    """Return the model versions: always one."""
    return json_response({"versions": [service().model.version]})


@routes.post("/validate")
def validate() -> Response:
    """Return 200 if masks fit a labeling config, otherwise 400 with the reason."""
    config = LabelingConfig.from_xml(labeling_config_from_json(read_body()))
    for image in config.images or (config.image(),):
        click_target(config, image.name, PromptTags())
    return json_response({"status": "ok"})


@routes.post("/webhook")
def webhook() -> Response:
    """Start a run for "Start Training" and imports; ignore other events."""
    event = WebhookEvent.from_json(read_body())
    logger.info("webhook %s", event.action[:80])
    settings = service().settings
    may_start_run = event.action == START_TRAINING or (event.action == TASKS_CREATED and settings.preannotate_on_import)
    if may_start_run and (refusal := refusal_without_webhook_secret(settings)) is not None:
        logger.warning(
            "webhook refused: it has neither the password nor the secret; `label-studio-sam connect` sets both"
        )
        return refusal
    ml_api.webhook(service(), event)
    return json_response({"status": "ok", "action": event.action[:80]}, 201)


@routes.post("/predict")
def predict() -> Response:
    """Return masks for prompts; without prompts, the pre-annotation of the project."""
    with metrics.stage("total"), service().clicks.recording() as click:
        with metrics.stage("parse"):
            predict_request = PredictRequest.from_json(read_body())
        return json_response({"results": ml_api.predict(service(), predict_request, click)})
