"""Origin of a run: its Label Studio and its project. A run is refused at any other.

A run records the address of its Label Studio (scheme, host, port, path prefix) and its project's number, creation time
and title. The rules, from the strongest evidence to the weakest:

1. Two projects are the same if number and creation time are equal: Label Studio's database sets the time once, to the
   microsecond. At the same address, another creation time means another database: the run is refused.
2. The same project at another address may be one installation with two names (http://localhost:8080 and
   http://label-studio:8080, or a host that moved), or a copy of its database. So the run's last written predictions
   must exist there; a run that has written nothing continues. The new address is recorded.
3. A run with only a recorded address (Label Studio was never reached) continues at that address only.
4. A run of schema 1, which recorded neither, is adopted by the first Label Studio that has its last written predictions
   or, if nothing is written, by the first whose project has the run's title. The log says so.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sam_backend.errors import BackendError
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import origin_of
from sam_backend.label_studio.projects import ProjectDetails, project_details
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.stored_predictions import predictions_of_task
from sam_backend.preannotation.provenance import is_of_run

if TYPE_CHECKING:
    from sam_backend.runs.run_store import Run

logger = logging.getLogger(__name__)

CHECKED_TASKS = 3  # the last written ones
DEFAULT_PORTS = {"http": 80, "https": 443}


class RunElsewhereError(BackendError):
    """The run belongs to another Label Studio or to another project."""

    status = 409


@dataclass(frozen=True)
class RunOrigin:
    """A project of a Label Studio; unknown values are empty."""

    installation: str  # a result of `installation_of`
    project: int
    created_at: str = ""  # a result of `_normalized`
    title: str = ""

    @classmethod
    def of(cls, url: str | None, details: ProjectDetails) -> "RunOrigin":
        """Return the origin of a project of Label Studio at `url`."""
        return cls(installation_of(url), details.id, _normalized(details.created_at), details.title)

    def is_other(self, other: "RunOrigin") -> bool:
        """Return whether what is known of both says that they are different projects."""
        if self.project != other.project:
            return True
        if self.created_at and other.created_at:
            return self.created_at != other.created_at
        return bool(self.installation and other.installation and self.installation != other.installation)

    def __str__(self) -> str:
        created = f", created {self.created_at}" if self.created_at else ""
        title = f" {self.title!r}" if self.title else ""
        return f"project {self.project}{title} of {self.installation or 'an unknown Label Studio'}{created}"


def installation_of(url: str | None) -> str:
    """Return a URL as scheme://host[:port][/prefix], without user and default port; empty for no URL."""
    try:
        scheme, host, port = origin_of(url or "")
    except ValueError:
        return ""
    name = f"[{host}]" if ":" in host else host
    number = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{name}{number}{urlsplit(url or '').path.rstrip('/')}"


def claim(run: "Run", api: LabelStudioClient, url: str | None, retry_policy: RetryPolicy) -> ProjectDetails:
    """Check that the run belongs to Label Studio at `url`, record the origin, and return the run's project.

    Raises:
        RunElsewhereError: the run belongs to another Label Studio or project; the message names both.
        LabelStudioApiError: Label Studio refuses, or does not answer.
    """
    recorded, number = run.origin, run.configuration.project
    try:
        details = retry_policy.call(partial(project_details, api, number))
    except LabelStudioApiError as error:
        if error.status == 404 and recorded.is_other(RunOrigin(installation_of(url), number)):
            found = f"{installation_of(url)} has no project {number} that this token may see"
            raise _elsewhere(run, recorded, found) from None
        raise
    here = RunOrigin.of(url, details)
    if not _belongs(run, recorded, here, api, retry_policy):
        raise _elsewhere(run, recorded, f"this is {here}")
    if recorded != here:
        if not recorded.installation:
            logger.info("run %s had no recorded Label Studio; adopted by %s", run.id, here)
        elif recorded.installation != here.installation:
            logger.info("run %s: Label Studio %s is now at %s", run.id, recorded.installation, here.installation)
        run.record_origin(here)
    return details


def _belongs(
    run: "Run", recorded: RunOrigin, here: RunOrigin, api: LabelStudioClient, retry_policy: RetryPolicy
) -> bool:
    if recorded.created_at and here.created_at and recorded.created_at != here.created_at:
        return False
    if recorded.installation == here.installation:
        return True
    if recorded.installation and not recorded.created_at:
        return False
    written = run.ledger.last_written(CHECKED_TASKS) if run.configuration.purpose == "predictions" else []
    if not written:
        return bool(recorded.created_at) or recorded.title in ("", here.title)
    stored = (retry_policy.call(partial(predictions_of_task, api, task)) for task in written)
    return any(is_of_run(prediction, run.id) for found in stored for prediction in found)


def _elsewhere(run: "Run", recorded: RunOrigin, found: str) -> RunElsewhereError:
    return RunElsewhereError(
        f"run {run.id} belongs to {recorded}, and {found}: the run was not changed; set LABEL_STUDIO_URL to its own "
        "Label Studio, or start a new run"
    )


def _normalized(created_at: str) -> str:
    """Return a time in UTC in ISO format; other texts are returned as they are."""
    try:
        return datetime.fromisoformat(created_at).astimezone(UTC).isoformat()
    except ValueError:
        return created_at
