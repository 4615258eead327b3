"""Checks of every request before its route: Host, Origin, content type, password or token.

A web page of another origin can make a browser send requests to localhost and to the private network: the checks refuse
them. Label Studio sends no Origin, and its Host header is that of the model's URL.
"""

from flask import Flask, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from sam_backend.errors import CrossSiteRequestError, UnknownHostError
from sam_backend.network.host_names import is_allowed_host, is_same_host, own_names
from sam_backend.protocol.fields import shown
from sam_backend.service.service import Service
from sam_backend.web.authentication import refusal_without_password, refusal_without_token

FOREIGN_SITES = ("cross-site", "same-site")  # same-site: another port of this machine, such as Label Studio's


def check_requests(app: Flask, service: Service, bind_host: str | None = None) -> None:
    """Register the checks with `app`."""
    settings = service.settings
    names = own_names(bind_host) | frozenset(settings.allowed_hosts)

    def check() -> Response | None:
        _check_host(names)
        _check_origin(frozenset(settings.allowed_hosts))
        _check_content_type()
        if request.path == "/webhook":  # webhooks cannot send the password: the route checks them
            return None
        is_api = request.path.startswith("/api/") or request.path == "/metrics"
        return refusal_without_token(settings) if is_api else refusal_without_password(settings)

    app.before_request(check)


def _check_host(names: frozenset[str]) -> None:
    """Refuse host names that anyone may own; HTTP/1.0 clients send none, browsers always do."""
    host = request.environ.get("HTTP_HOST", "")
    if host and not is_allowed_host(host, names):
        raise UnknownHostError(
            f"the Host {shown(host)} is not a name of this backend; if it is, start the backend with it in "
            "SAM_ALLOWED_HOSTS"
        )


def _check_origin(allowed: frozenset[str]) -> None:
    """Refuse requests of pages of another origin, except followed links."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site in FOREIGN_SITES and not _is_followed_link():
        raise CrossSiteRequestError(f"a web page of another origin sent this request (Sec-Fetch-Site: {site})")
    origin = request.headers.get("Origin")
    if origin is None or site == "same-origin":  # only the browser can set Sec-Fetch-Site
        return
    if is_same_host(origin, request.environ.get("HTTP_HOST", "")) or origin.partition("://")[2].lower() in allowed:
        return
    raise CrossSiteRequestError(f"a web page of another origin sent this request (Origin: {shown(origin)})")


def _is_followed_link() -> bool:
    mode, destination = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return request.method == "GET" and mode == "navigate" and destination == "document"


def _check_content_type() -> None:
    """Refuse a POST that a page of another origin can send without a CORS preflight."""
    if request.method == "POST" and request.mimetype != "application/json":
        given = request.mimetype or "none"
        raise UnsupportedMediaType(f"the content type is {shown(given)}; needed: application/json")
