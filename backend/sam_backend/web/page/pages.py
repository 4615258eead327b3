"""The page at `/`: what the backend does, and the door to bulk runs for people.

The page is a template, its life comes from one script that asks the same JSON interface that everybody may use. All
addresses in it are relative, so that it works behind a path prefix; nothing is fetched from elsewhere, and the
content security policy says so.
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
    """The page for browsers; what /health says for programs."""
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
