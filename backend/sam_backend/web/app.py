"""The Flask application: routes, limits, error handlers."""

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from sam_backend import metrics
from sam_backend.errors import BackendError
from sam_backend.redaction import mask_userinfo
from sam_backend.request_ids import HEADER, begin_request, current_request_id, end_request
from sam_backend.service.service import Service
from sam_backend.web.body_limits import LARGE_BODY_PATHS, SMALL_BODY_BYTES, body_limit
from sam_backend.web.ml_api_routes import routes
from sam_backend.web.model_routes import model_routes
from sam_backend.web.operator_routes import operator_routes
from sam_backend.web.page.pages import pages
from sam_backend.web.request_checks import check_requests
from sam_backend.web.responses import error_response
from sam_backend.web.run_routes import run_routes

logger = logging.getLogger(__name__)


def create_app(service: Service, bind_host: str | None = None) -> Flask:
    """Return the WSGI application of a service that listens on `bind_host`."""
    app = Flask(__name__, static_folder=None)
    app.extensions["service"] = service
    app.config["MAX_CONTENT_LENGTH"] = SMALL_BODY_BYTES
    app.register_blueprint(routes)
    app.register_blueprint(operator_routes)
    app.register_blueprint(run_routes)
    app.register_blueprint(model_routes)
    app.register_blueprint(pages)
    app.register_error_handler(BackendError, _backend_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)
    app.before_request(_begin_request)
    app.after_request(_count_request)
    app.teardown_request(lambda _: end_request())
    app.before_request(_check_query)
    app.before_request(lambda: _limit_body(service))
    check_requests(app, service, bind_host)
    return app


def _backend_error(error: BackendError) -> Response:
    logger.warning("%s %s -> %d: %s", request.method, request.path, error.status, error)
    metrics.errors.labels(type(error).__name__).inc()
    response = error_response(mask_userinfo(str(error)), error.status)
    if error.status == 503:
        response.headers["Retry-After"] = "5"
    return response


def _http_error(error: HTTPException) -> Response:
    text = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        limit = request.max_content_length or 0
        source = "the limit of SAM_MAX_BODY_MIB" if request.path in LARGE_BODY_PATHS else "the limit of this path"
        text = f"the body is larger than {limit // 1024} KiB, {source}"
        metrics.refused.labels("too_large").inc()
    else:
        metrics.errors.labels(type(error).__name__).inc()
    logger.warning("%s %s -> %s: %s", request.method, request.path[:200], error.code, text)
    return error_response(text, error.code or 500)


def _unexpected_error(error: Exception) -> Response:
    """Log an unexpected exception with its traceback; the caller gets only its status."""
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    metrics.errors.labels("InternalError").inc()
    return error_response("internal error: see the backend's log", 500)


def _begin_request() -> None:
    begin_request(request.headers.get(HEADER))


def _count_request(response: Response) -> Response:
    response.headers[HEADER] = current_request_id() or ""
    route = "other" if request.url_rule is None else request.url_rule.rule
    metrics.requests.labels(route, response.status_code).inc()
    return response


def _check_query() -> None:
    """Refuse a query that is not UTF-8, which Werkzeug cannot decode."""
    try:
        request.query_string.decode()
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8") from None


def _limit_body(service: Service) -> None:
    request.max_content_length = body_limit(request.path, service.settings)
