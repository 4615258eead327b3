"""HTTP API for operators: readiness and metrics."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sam_backend.service.service_metrics import ServiceMetrics
from sam_backend.web.responses import json_response, service

operator_routes = Blueprint("operators", __name__)


@operator_routes.get("/ready")
def ready() -> Response:
    """Return 200 if the backend can answer a click now, otherwise 503 with the reasons."""
    parts = service()
    problems = parts.readiness.problems()
    answer = {"ready": not problems, "problems": problems, "state": parts.model.state, "problem": parts.model.problem}
    return json_response(answer, 503 if problems else 200)


@operator_routes.get("/metrics")
def metrics() -> Response:
    """Return all metrics in Prometheus' text format."""
    return Response(generate_latest(ServiceMetrics(service())), content_type=CONTENT_TYPE_LATEST)
