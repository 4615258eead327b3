"""`label-studio-sam connect`: the clicks of Settings > Model, and what stands in their way."""

import argparse
import json
import sys
from typing import Any

from sam_backend.commands.preannotate import needed_settings
from sam_backend.errors import BackendError
from sam_backend.settings import SettingsError

DESCRIPTION = """Adds the running backend to a project of Label Studio, makes it interactive and looks whether the
labeling config can take masks. LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY say where Label Studio is; where
SAM_BASIC_AUTH_USER and SAM_BASIC_AUTH_PASSWORD are set, Label Studio is told to send them. Exit code 0:
connected; 1: Label Studio refuses, and the message says what helps; 2: bad input."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("--project", type=int, required=True, metavar="N", help="the number in the project's address")
    parser.add_argument(
        "--url",
        default="http://localhost:9090",
        help="of the backend, as Label Studio's machine sees it (default %(default)s)",
    )
    parser.add_argument("--title", default="label-studio-sam", help="what people see (default %(default)s)")
    parser.add_argument(
        "--fix-config", action="store_true", help="add what the labeling config lacks; nothing is removed"
    )
    parser.add_argument(
        "--extra-params", metavar="JSON", help="""such as '{"detector": "classical"}', for pre-annotation"""
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from sam_backend.label_studio.backend_registration import RegistrationError
    from sam_backend.label_studio.client import LabelStudioApiError

    try:
        return _connect(args)
    except (RegistrationError, LabelStudioApiError) as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 1
    except BackendError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 2


def _connect(args: argparse.Namespace) -> int:
    from sam_backend.label_studio.backend_registration import check_version, connect
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.label_studio.projects import project_details
    from sam_backend.network.base_url import parse_base_url
    from sam_backend.protocol.smart_tags import missing_tags, with_smart_tags
    from sam_backend.redaction import mask_userinfo

    extra_params = _extra_params(args.extra_params)
    try:
        backend_url = parse_base_url(args.url)
    except ValueError as error:
        shown = mask_userinfo(args.url)
        raise SettingsError(f"--url {shown} is not an address such as http://localhost:9090: {error}") from None
    settings = needed_settings()
    api = LabelStudioClient(LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key))
    release = check_version(api)
    project = project_details(api, args.project)
    user, secret = settings.basic_auth_user, settings.basic_auth_password
    password = (user, secret) if user and secret else None
    connection = connect(api, args.project, backend_url, args.title, extra_params, password)
    lacking = missing_tags(project.labeling_config)
    fitting = with_smart_tags(project.labeling_config)
    if lacking and args.fix_config:
        api.call("PATCH", f"/api/projects/{args.project}/", {"label_config": fitting})
    if args.json:
        answer = {"label_studio": release, "project": project.title, "url": connection.url, "is_new": connection.is_new}
        answer |= {"missing_tags": list(lacking), "is_config_fixed": bool(lacking and args.fix_config)}
        print(json.dumps(answer | {"model_version": connection.model_version, "labeling_config": fitting}))
        return 0
    how = "connected" if connection.is_new else "was connected already, and is up to date"
    print(f"{connection.url} {how}: project {args.project}, {project.title!r}, Label Studio {release}, interactive")
    if lacking and args.fix_config:
        print(f"labeling config: {', '.join(f'<{tag}>' for tag in lacking)} added")
    elif lacking:
        print(
            f"the labeling config lacks {', '.join(f'<{tag}>' for tag in lacking)}; --fix-config makes it this one:\n"
        )
        print(fitting)
    return 0


def _extra_params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SettingsError(f"--extra-params {text} is no JSON object such as " + '{"detector": "classical"}')
    return found
