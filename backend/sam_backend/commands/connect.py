"""`label-studio-sam connect`: register the running backend in a project, as Settings > Model would."""

import argparse
import json
from typing import Any

from sam_backend.commands.label_studio_settings import label_studio_settings
from sam_backend.commands.result import CommandResult
from sam_backend.settings import SettingsError

DESCRIPTION = """Register the running backend in a project of Label Studio, switch on interactive pre-annotations, and
check that the labeling config has the tags for smart clicks. LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are required. If
SAM_BASIC_AUTH_USER and SAM_BASIC_AUTH_PASSWORD are set, Label Studio will send them to the backend."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("--project", type=int, required=True, metavar="N", help="the project's number, as in its URL")
    parser.add_argument(
        "--url",
        default="http://localhost:9090",
        help="URL of the backend, as seen from Label Studio's machine (default %(default)s)",
    )
    parser.add_argument(
        "--title", default="label-studio-sam", help="title of the backend in Label Studio (default %(default)s)"
    )
    parser.add_argument(
        "--fix-config",
        action="store_true",
        help="add the missing tags to the labeling config, and a <TextArea> for words; no tag is removed",
    )
    parser.add_argument(
        "--extra-params",
        metavar="JSON",
        help="""extra parameters for pre-annotation, such as '{"detector": "classical"}'""",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Register the backend.

    Raises:
        SettingsError: an argument or a setting cannot be used.
        RegistrationError: Label Studio refuses the registration, or is too old.
    """
    from sam_backend.errors import BackendError
    from sam_backend.interactive.extra_params import DEFAULT_OPTIONS
    from sam_backend.label_studio.backend_registration import check_version, connect
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.label_studio.projects import project_details
    from sam_backend.network.base_url import parse_base_url
    from sam_backend.protocol.labeling_config import LabelingConfig
    from sam_backend.protocol.smart_tags import has_words, missing_tags, with_smart_tags
    from sam_backend.redaction import mask_userinfo
    from sam_backend.shapes.click_shapes import describe_click_shapes

    extra_params = _extra_params(args.extra_params)
    try:
        backend_url = parse_base_url(args.url)
    except ValueError as error:
        shown = mask_userinfo(args.url)
        raise SettingsError(f"--url {shown} is not a URL such as http://localhost:9090: {error}") from None
    settings = label_studio_settings()
    api = LabelStudioClient(LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key))
    release = check_version(api)
    project = project_details(api, args.project)
    user, secret = settings.basic_auth_user, settings.basic_auth_password
    password = (user, secret) if user and secret else None
    connection = connect(api, args.project, backend_url, args.title, extra_params, password)
    lacking = missing_tags(project.labeling_config)
    optional = () if has_words(project.labeling_config) else ("TextArea",)
    is_fixed = args.fix_config and bool(lacking or optional)
    fitting = with_smart_tags(project.labeling_config)
    try:
        sam_output = DEFAULT_OPTIONS.with_json(connection.extra_params).sam_output
        shapes = describe_click_shapes(LabelingConfig.from_xml(fitting), sam_output)
    except BackendError as error:
        shapes = f"none: {error}"
    if is_fixed:
        api.call("PATCH", f"/api/projects/{args.project}/", {"label_config": fitting})
    answer = {"label_studio": release, "project": project.title, "url": connection.url, "is_new": connection.is_new}
    answer |= {"missing_tags": list(lacking), "is_config_fixed": is_fixed}
    answer |= {"clicks": shapes}
    answer |= {"model_version": connection.model_version, "labeling_config": fitting}
    how = "connected" if connection.is_new else "was already connected and is up to date"
    lines = [f"{connection.url} {how}: project {args.project}, {project.title!r}, Label Studio {release}, interactive"]
    tags = ", ".join(f"<{tag}>" for tag in lacking)
    if is_fixed:
        lines.append(f"labeling config: added {', '.join(f'<{tag}>' for tag in (*lacking, *optional))}")
    elif lacking:
        lines += [f"the labeling config lacks {tags}; --fix-config changes it to:", "", fitting]
    lines.append(f"regions for clicks: {shapes}")
    return CommandResult(answer, "\n".join(lines))


def _extra_params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SettingsError(f"--extra-params {text} is not a JSON object such as " + '{"detector": "classical"}')
    return found
