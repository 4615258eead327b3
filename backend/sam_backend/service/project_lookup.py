"""Projects as Label Studio describes them; a failed call becomes an error with a status and a fix."""

from collections.abc import Callable
from typing import TypeVar

from sam_backend.errors import BackendError, LabelStudioError
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import WAY_OUT, LabelStudioCredentials
from sam_backend.label_studio.projects import ProjectDetails, project_details

T = TypeVar("T")


class UnknownProjectError(BackendError):
    """Label Studio has no such project, or the token's user may not see it."""

    status = 404


def find_project(credentials: LabelStudioCredentials, project: int) -> ProjectDetails:
    """Return a project's current settings.

    Raises:
        BackendError: as `read_label_studio`.
    """
    client = LabelStudioClient(credentials)
    return read_label_studio(credentials, lambda: project_details(client, project), f"project {project}")


def read_label_studio(credentials: LabelStudioCredentials, call: Callable[[], T], subject: str) -> T:
    """Return the result of `call`, which reads `subject` from Label Studio.

    Raises:
        LabelStudioError: no token is known, Label Studio refuses it, or Label Studio does not answer.
        UnknownProjectError: Label Studio answers 404.
    """
    if not credentials.is_known:
        raise LabelStudioError(f"could not read {subject}: no token is known; {WAY_OUT}")
    try:
        return call()
    except LabelStudioApiError as error:
        if error.status == 404:
            raise UnknownProjectError(
                f"could not read {subject}: it does not exist, or the token's user may not see it"
            ) from None
        fix = f". {credentials.explain_refusal()}" if error.status in (401, 403) else ""
        raise LabelStudioError(f"could not read {subject}: {str(error).rstrip('.')}{fix}") from None
    except (KeyError, TypeError, ValueError, AttributeError):  # JSON, but not Label Studio's
        raise LabelStudioError(
            f"could not read {subject}: the answer is not Label Studio's; check LABEL_STUDIO_URL"
        ) from None
