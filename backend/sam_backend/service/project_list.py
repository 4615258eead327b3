"""Label Studio as the web page shows it: which projects it has, and which of them know this backend."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from sam_backend.errors import LabelingConfigError
from sam_backend.label_studio.backend_registration import registrations
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import projects
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.service.project_registry import ProjectRegistry, created_seconds

LOOK_TIMEOUT_S = 3.0
ASK_AGAIN_S = 60.0  # whether a project that did not know this backend knows it now
ASKED_AT_ONCE, ASKED_AT_MOST = 4, 40  # projects


@dataclass(frozen=True)
class ProjectLine:
    """A project in a list."""

    id: int
    title: str
    tasks: int
    labels: tuple[str, ...]
    has_this_backend: bool


class ProjectList:
    """What is asked is remembered for a few seconds; threads may share it."""

    def __init__(self, access: LabelStudioCredentials, projects: ProjectRegistry) -> None:
        self._projects = projects
        self._api = LabelStudioClient(access)
        self._quick = LabelStudioClient(access, timeout_s=LOOK_TIMEOUT_S)
        self._asked: dict[int, float] = {}
        self._lock = threading.Lock()

    def project_lines(self) -> list[ProjectLine]:
        """All projects that the token's user sees.

        Raises:
            LabelStudioApiError: Label Studio refuses or does not answer.
        """
        found = projects(self._api)
        self._find_connected([(project.id, created_seconds(project.created_at)) for project in found])
        return [
            ProjectLine(
                id=project.id,
                title=project.title,
                tasks=project.tasks,
                labels=_labels_of(project.labeling_config),
                has_this_backend=self._projects.knows(project.id, created_seconds(project.created_at)),
            )
            for project in found
        ]

    def _find_connected(self, projects: list[tuple[int, int | None]]) -> None:
        """Label Studio posts /setup to every model of a project while it lists them: this one gets to know it so."""
        now = time.monotonic()
        with self._lock:
            lacking = (number for number, created_s in projects if not self._projects.knows(number, created_s))
            unknown = [number for number in lacking if self._asked.get(number, 0) < now][:ASKED_AT_MOST]
            self._asked |= dict.fromkeys(unknown, now + ASK_AGAIN_S)

        def ask(project: int) -> None:
            with suppress(LabelStudioApiError):
                registrations(self._quick, project)

        with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="find-connected") as pool:
            list(pool.map(ask, unknown))


def _labels_of(xml: str) -> tuple[str, ...]:
    try:
        controls = LabelingConfig.from_xml(xml).controls
    except LabelingConfigError:
        return ()
    return tuple(dict.fromkeys(label for tag in controls for label in tag.labels))
