"""Progress of a run, as the command line, the HTTP interface and the web page show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sam_backend.preannotation.configuration import RunConfiguration

ENDED = ("finished", "failed", "cancelled", "undone")  # no process works on these runs until a person resumes them


@dataclass(frozen=True)
class RunCounts:
    """Numbers of tasks by outcome, and of objects in their predictions."""

    total: int | None = None  # None while the tasks are not counted yet
    written: int = 0
    skipped: int = 0
    failed: int = 0
    empty: int = 0  # written, but without any object
    objects: int = 0
    undone: int = 0

    @property
    def done(self) -> int:
        """Number of tasks that are written, skipped or failed."""
        return self.written + self.skipped + self.failed


@dataclass(frozen=True)
class RunProgress:
    """State and counts of a run at one moment.

    `state` is queued, running, paused, cancelled, finished, failed (`message` says why), interrupted (its process ended
    before it did), undoing or undone. Times are seconds since 1970.
    """

    id: str
    state: str
    configuration: RunConfiguration
    project_title: str
    model_version: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    counts: RunCounts
    labels: Mapping[str, int] = field(default_factory=dict)
    rate_per_s: float = 0.0  # tasks per second, over the last half minute
    message: str = ""
    installation: str = ""  # the address of its Label Studio; empty if not recorded

    @property
    def eta_s(self) -> float | None:
        """Seconds until the end at the present rate; None if unknown."""
        if self.state != "running" or not self.rate_per_s or self.counts.total is None:
            return None
        return max(0, self.counts.total - self.counts.done) / self.rate_per_s

    def to_json(self) -> dict[str, Any]:
        """Return the run as in the HTTP interface."""
        counts = self.counts
        return {
            "id": self.id,
            "state": self.state,
            "project": self.configuration.project,
            "installation": self.installation,
            "project_title": self.project_title,
            "configuration": self.configuration.to_json(),
            "model_version": self.model_version,
            "created_at": _iso(self.created_at),
            "started_at": _iso(self.started_at),
            "ended_at": _iso(self.ended_at),
            "counts": {
                "total": counts.total,
                "written": counts.written,
                "skipped": counts.skipped,
                "failed": counts.failed,
                "empty": counts.empty,
                "objects": counts.objects,
                "undone": counts.undone,
            },
            "labels": dict(self.labels),
            "rate_per_s": round(self.rate_per_s, 3),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "message": self.message,
        }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
