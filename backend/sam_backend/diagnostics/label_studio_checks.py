"""What stands between this backend and Label Studio, looked at one step after the other, each with its way out."""

from dataclasses import dataclass

from sam_backend.label_studio.backend_registration import (
    NOT_REACHED,
    BackendRegistration,
    RegistrationError,
    check_version,
    registrations,
)
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import newest_projects
from sam_backend.redaction import mask_userinfo

TIMEOUT_S = 5.0
PROJECTS_ASKED = 20  # for each of them Label Studio asks its backends how they are

CONNECT = (
    "run `label-studio-sam connect --project N --url URL`, or in Label Studio open the project's Settings > Model > "
    "Connect Model, with interactive preannotations; URL is this backend's address as Label Studio's machine sees it"
)
NO_ADDRESS = (
    "start the backend with LABEL_STUDIO_URL=<address of Label Studio> and LABEL_STUDIO_API_KEY=<personal access "
    "token>; or connect a project in Label Studio, under its Settings > Model > Connect Model, which tells the address"
)
FIX_ADDRESS = (
    "see that Label Studio runs, and set LABEL_STUDIO_URL to its address as the backend's machine sees it (with "
    "Docker the container's name, such as http://label-studio:8080, not localhost)"
)
UPGRADE = "upgrade Label Studio (a newer image, or pip install --upgrade label-studio); its data stay"
CREATE_ONE = (
    "in Label Studio open Account & Settings (the picture in the upper right corner) > Personal Access Token, create "
    "one, and start the backend with it as LABEL_STUDIO_API_KEY, beside LABEL_STUDIO_URL"
)
LEGACY = "; legacy tokens are refused unless Organization > API Tokens Settings allows them"
ADDRESS, TOKEN = "Label Studio", "Token"  # names of checks


@dataclass(frozen=True)
class Check:
    """One thing that has to be right: what was found, or what is missing and the next step."""

    name: str
    ok: bool
    found: str = ""
    problem: str = ""
    next_step: str = ""


PROJECT_CONNECTED = Check("Project", True, found="connected")


def check_label_studio(access: LabelStudioCredentials, model_version: str, is_connected: bool) -> list[Check]:
    """Address, token and connected project; what cannot be right before an earlier step is, is left out.

    Args:
        access: the address and the token to look at.
        model_version: of this backend, by which a project's entry is known to be this one.
        is_connected: whether a project has introduced itself already.
    """
    address = _check_address(access)
    if not address.ok:
        return [address]
    token = _check_token(access)
    if not token.ok:
        return [address, token]
    return [address, token, _check_project(access, model_version, is_connected)]


def _check_address(access: LabelStudioCredentials) -> Check:
    name = ADDRESS
    if access.url is None:
        return Check(name, False, problem="Label Studio's address is not known", next_step=NO_ADDRESS)
    try:
        release = check_version(LabelStudioClient(access, TIMEOUT_S))
    except RegistrationError as error:
        is_old = "too old" in str(error)
        way_out = (
            "upgrade Label Studio: pip install --upgrade label-studio, or a newer image" if is_old else FIX_ADDRESS
        )
        return Check(name, False, problem=f"{access.url}: {error}", next_step=way_out)
    except LabelStudioApiError as error:
        return Check(name, False, problem=f"{access.url} cannot be used: {error}", next_step=FIX_ADDRESS)
    return Check(name, True, found=f"{release} at {access.url}")


def _check_token(access: LabelStudioCredentials) -> Check:
    name, token = TOKEN, access.describe_token()
    if token is None:
        return Check(name, False, problem="no token of Label Studio is known", next_step=CREATE_ONE)
    try:
        user = LabelStudioClient(access, TIMEOUT_S).call("GET", "/api/current-user/whoami")
    except LabelStudioApiError as error:
        if error.status not in (401, 403):
            return Check(name, False, problem=f"{token} could not be tried: {error}", next_step=FIX_ADDRESS)
        why = LEGACY if "legacy" in token else ""
        return Check(name, False, problem=f"Label Studio refuses {token}{why}", next_step=CREATE_ONE)
    email = user.get("email") if isinstance(user, dict) and _is_quoted(access) else None
    return Check(name, True, found=f"{token}, of {email or 'a user'}")


def _check_project(access: LabelStudioCredentials, model_version: str, is_connected: bool) -> Check:
    if is_connected:
        return PROJECT_CONNECTED
    name = PROJECT_CONNECTED.name
    try:
        entries = _entries(LabelStudioClient(access, TIMEOUT_S))
    except LabelStudioApiError as error:
        return Check(name, False, problem=f"Label Studio's models could not be listed: {error}", next_step=FIX_ADDRESS)
    ours = [entry for entry in entries if entry[1].is_connected and model_version in entry[1].model_version]
    if ours:
        where = ", ".join(_named(*entry, access) for entry in ours[:3])
        return Check(name, True, found=f"connected: {where}")
    unreached = next((entry for entry in entries if not entry[1].is_connected), None)
    if unreached is not None:
        problem = f"Label Studio does not reach the model of {_named(*unreached, access)}"
        return Check(name, False, problem=problem, next_step=f"if that is this backend: {NOT_REACHED}")
    return Check(name, False, problem="no project of Label Studio is connected with this backend", next_step=CONNECT)


def _is_quoted(access: LabelStudioCredentials) -> bool:
    """Whether Label Studio's words may be shown: a host that a POST /setup named may be any."""
    known = access.credential
    return known is not None and known.is_url_from_settings


def _named(project: int, entry: BackendRegistration, access: LabelStudioCredentials) -> str:
    where = f"project {project}"
    return f"{where} at {mask_userinfo(entry.url)}" if _is_quoted(access) else where


def _entries(api: LabelStudioClient) -> list[tuple[int, BackendRegistration]]:
    """The newest projects' numbers and registered models; Label Studio checks each model before it answers."""
    return [
        (project.id, entry)
        for project in newest_projects(api, PROJECTS_ASKED)
        for entry in registrations(api, project.id)
    ]
