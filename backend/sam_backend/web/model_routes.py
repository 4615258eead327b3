"""HTTP API of the models; see docs/http-api.md."""

from flask import Blueprint, Response

from sam_backend.web.responses import json_response, service

model_routes = Blueprint("models", __name__, url_prefix="/api/models")


@model_routes.get("")
def list_models() -> Response:
    """Return the segmenters, with licence, size, speed and state, and the switch that is running or ended last."""
    return json_response(service().model_list.to_json())


@model_routes.post("/<name>/download")
def download_model(name: str) -> Response:
    """Start the download of a model's weights."""
    service().model_list.download(name)
    return json_response(service().model_list.to_json(), 202)


@model_routes.post("/<name>/use")
def use_model(name: str) -> Response:
    """Use a model for clicks as soon as it is loaded."""
    service().model_list.use(name)
    return json_response(service().model_list.to_json(), 202)
