"""Checks of Label Studio: address, token, connected project; each problem with a fix."""

from dataclasses import dataclass

from sam_backend.errors import BackendError
from sam_backend.interactive.extra_params import CLICK_FIELDS, DEFAULT_OPTIONS
from sam_backend.label_studio.backend_registration import (
    NOT_REACHED,
    BackendRegistration,
    RegistrationError,
    check_version,
    registrations,
)
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import ProjectDetails, newest_projects
from sam_backend.preannotation.configuration import RunConfiguration, describe_opened_tasks
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.redaction import mask_userinfo
from sam_backend.shapes.click_shapes import describe_click_shapes

TIMEOUT_S = 5.0
MAX_PROJECTS = 20  # Label Studio calls /health of every model of each project

CONNECT = (
    "run `label-studio-sam connect --project N --url URL`, or in Label Studio open the project's Settings > Model > "
    "Connect Model and switch on interactive preannotations; URL is this backend's address as Label Studio reaches it"
)
NO_ADDRESS = (
    "start the backend with LABEL_STUDIO_URL=<address of Label Studio> and LABEL_STUDIO_API_KEY=<personal access "
    "token>; or connect a project in Label Studio under Settings > Model > Connect Model, which sends the address"
)
FIX_ADDRESS = (
    "check that Label Studio is running, and set LABEL_STUDIO_URL to its address as the backend reaches it (with "
    "Docker the container's name, such as http://label-studio:8080, not localhost)"
)
UPGRADE = "upgrade Label Studio: pip install --upgrade label-studio, or a newer Docker image"
OPEN_ACCOUNT_SETTINGS = (
    "in Label Studio open Account & Settings (the user icon in the upper right corner) > Personal Access Token, create "
    "a token, and start the backend with LABEL_STUDIO_URL and with the token as LABEL_STUDIO_API_KEY"
)
LEGACY = "; Label Studio accepts legacy tokens only if Organization > API Tokens Settings allows them"
ADDRESS, TOKEN = "Label Studio", "Token"  # names of checks


@dataclass(frozen=True)
class Check:
    """The result of one check: what was found, or the problem and the next step."""

    name: str
    ok: bool
    found: str = ""
    problem: str = ""
    next_step: str = ""


PROJECT_CONNECTED = Check("Project", True, found="connected")


def check_label_studio(
    credentials: LabelStudioCredentials, model_version: str, is_connected: bool, detector: str | None = None
) -> list[Check]:
    """Check address, token and connected project, up to the first problem.

    Args:
        credentials: the address and the token to check.
        model_version: of this backend; identifies its registration among those of a project.
        is_connected: whether a project is registered in this process.
        detector: of the settings, for projects that name none.
    """
    address = _check_address(credentials)
    if not address.ok:
        return [address]
    token = _check_token(credentials)
    if not token.ok:
        return [address, token]
    return [address, token, _check_project(credentials, model_version, is_connected, detector)]


def _check_address(credentials: LabelStudioCredentials) -> Check:
    name = ADDRESS
    if credentials.url is None:
        return Check(name, False, problem="Label Studio's address is not known", next_step=NO_ADDRESS)
    try:
        release = check_version(LabelStudioClient(credentials, TIMEOUT_S))
    except RegistrationError as error:
        is_old = "too old" in str(error)
        return Check(name, False, problem=f"{credentials.url}: {error}", next_step=UPGRADE if is_old else FIX_ADDRESS)
    except LabelStudioApiError as error:
        return Check(name, False, problem=f"could not use {credentials.url}: {error}", next_step=FIX_ADDRESS)
    return Check(name, True, found=f"{release} at {credentials.url}")


def _check_token(credentials: LabelStudioCredentials) -> Check:
    name, token = TOKEN, credentials.describe_token()
    if token is None:
        return Check(name, False, problem="no token of Label Studio is known", next_step=OPEN_ACCOUNT_SETTINGS)
    try:
        user = LabelStudioClient(credentials, TIMEOUT_S).call("GET", "/api/current-user/whoami")
    except LabelStudioApiError as error:
        if error.status not in (401, 403):
            return Check(name, False, problem=f"could not check {token}: {error}", next_step=FIX_ADDRESS)
        cause = LEGACY if "legacy" in token else ""
        return Check(name, False, problem=f"Label Studio refuses {token}{cause}", next_step=OPEN_ACCOUNT_SETTINGS)
    email = user.get("email") if isinstance(user, dict) and _is_quoted(credentials) else None
    return Check(name, True, found=f"{token}, of {email or 'a user'}")


def _check_project(
    credentials: LabelStudioCredentials, model_version: str, is_connected: bool, detector: str | None
) -> Check:
    if is_connected:
        return PROJECT_CONNECTED
    name = PROJECT_CONNECTED.name
    try:
        entries = _entries(LabelStudioClient(credentials, TIMEOUT_S))
    except LabelStudioApiError as error:
        return Check(name, False, problem=f"could not list Label Studio's models: {error}", next_step=FIX_ADDRESS)
    ours = [entry for entry in entries if entry[1].is_connected and model_version in entry[1].model_version]
    if ours:
        where = ", ".join(_named(*entry, credentials) + _clicks(*entry, credentials, detector) for entry in ours[:3])
        return Check(name, True, found=f"connected: {where}")
    unreached = next((entry for entry in entries if not entry[1].is_connected), None)
    if unreached is not None:
        problem = f"Label Studio does not reach the model of {_named(*unreached, credentials)}"
        return Check(name, False, problem=problem, next_step=f"if that is this backend: {NOT_REACHED}")
    return Check(name, False, problem="no project of Label Studio uses this backend", next_step=CONNECT)


def _is_quoted(credentials: LabelStudioCredentials) -> bool:
    """Return whether Label Studio's text may be shown: the host that a POST /setup names may be any host."""
    known = credentials.credential
    return known is not None and known.is_url_from_settings


def _clicks(
    project: ProjectDetails, entry: BackendRegistration, credentials: LabelStudioCredentials, detector: str | None
) -> str:
    """Return the regions that the clicks of a project and its opened tasks get, or why clicks get none."""
    if not _is_quoted(credentials):
        return ""
    try:
        options = DEFAULT_OPTIONS.with_json(entry.extra_params)
        shapes = describe_click_shapes(LabelingConfig.from_xml(project.labeling_config), options.sam_output)
    except BackendError as error:
        return f" (clicks get nothing: {error})"
    run = {name: value for name, value in entry.extra_params.items() if name not in CLICK_FIELDS}
    try:
        opened = describe_opened_tasks(RunConfiguration.of_project(project.id, run, detector))
    except BackendError as error:
        opened = f"could not use the extra parameters: {error}"
    return f" (clicks get: {', '.join(part for part in (shapes, options.text()) if part)}; {opened})"


def _named(project: ProjectDetails, entry: BackendRegistration, credentials: LabelStudioCredentials) -> str:
    where = f"project {project.id}"
    return f"{where} at {mask_userinfo(entry.url)}" if _is_quoted(credentials) else where


def _entries(api: LabelStudioClient) -> list[tuple[ProjectDetails, BackendRegistration]]:
    """Return the newest projects and their registrations; Label Studio calls each model before it answers."""
    return [
        (project, entry) for project in newest_projects(api, MAX_PROJECTS) for entry in registrations(api, project.id)
    ]
