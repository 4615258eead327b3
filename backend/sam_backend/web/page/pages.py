"""The web page at `/`: state of the backend, and runs.

The page is a template with one script, which calls the public JSON API. All its addresses are relative, so that it
works behind a path prefix. It loads nothing from other hosts; the content security policy forbids it.
"""

from flask import Blueprint, Response, make_response, render_template, request

from sam_backend.preannotation.configuration import SHAPES
from sam_backend.web.ml_api_routes import health
from sam_backend.web.responses import service

SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static")


@pages.get("/")
def page() -> Response:
    """Return the page to browsers, and the answer of /health to other programs."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
        return health()
    parts = service()
    response = make_response(
        render_template(
            "page.html",
            model=parts.model,
            label_studio_url=parts.credentials.url,
            shapes=SHAPES,
        )
    )
    response.headers["Content-Security-Policy"] = SECURITY_POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
