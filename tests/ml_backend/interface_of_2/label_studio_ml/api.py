"""The server: a new model for each request. As a program: python -m label_studio_ml.api PORT."""

import sys
from typing import Any

from flask import Flask, Response, jsonify, request

from label_studio_ml.response import ModelResponse
from sam_backend.ml_backend import SegmentAnything

server = Flask(__name__)


@server.errorhandler(Exception)
def failed(error: Exception) -> tuple[Response, int]:
    return jsonify({"detail": f"{type(error).__name__}: {error}", "result": {"traceback": "..."}}), 500


@server.post("/predict")
def predict() -> Response:
    data: dict[str, Any] = request.json or {}
    params = data.get("params", {})
    context = params.pop("context", {})
    model = SegmentAnything(project_id=str(data.get("project")).split(".", 1)[0], label_config=data.get("label_config"))
    response = model.predict(data.get("tasks"), context=context, **params)
    assert isinstance(response, ModelResponse)
    return jsonify({"results": response.model_dump()["predictions"]})


@server.post("/setup")
def setup() -> Response:
    data: dict[str, Any] = request.json or {}
    model = SegmentAnything(project_id=data["project"].split(".", 1)[0], label_config=data.get("schema"))
    if data.get("extra_params"):
        model.set_extra_params(data["extra_params"])
    return jsonify({"model_version": model.get("model_version")})


@server.post("/webhook")
def webhook() -> tuple[Response, int]:
    data: dict[str, Any] = request.json or {}
    event = data.pop("action")
    model = SegmentAnything(str(data["project"]["id"]), label_config=data["project"]["label_config"])
    return jsonify({"result": model.fit(event, data), "status": "ok"}), 201


@server.get("/health")
def health() -> Response:
    return jsonify({"status": "UP", "model_class": SegmentAnything.__name__})


if __name__ == "__main__":
    server.run(host="127.0.0.1", port=int(sys.argv[1]))
