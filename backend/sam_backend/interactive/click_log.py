"""The last requests for predictions: what they asked for, how long each stage took, and why they got no mask.

Label Studio shows an annotator nothing when a backend refuses a click. So this list, on the page and in
`GET /api/clicks`, is the place that tells the reason.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sam_backend import metrics
from sam_backend.errors import BackendError
from sam_backend.redaction import escape_control_characters, mask_userinfo
from sam_backend.request_ids import current_request_id

logger = logging.getLogger(__name__)

MAX_CLICKS = 50
MAX_REASON_LENGTH = 500  # characters
_reasons: ContextVar[list[str] | None] = ContextVar("reasons", default=None)


@dataclass(frozen=True)
class Click:
    """One request: the prompts of a click, or tasks without prompts (*Retrieve Predictions*)."""

    time_s: float  # since 1970
    project: int | None
    tasks: tuple[int, ...]
    prompts: str  # such as "2 points", or "none"
    stages_s: Mapping[str, float]  # seconds; "total" is the whole request
    model: str  # that answered; empty if none did
    result: str  # such as "1 region"; empty if there is none
    reason: str  # why the result lacks something; empty if it does not
    request_id: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `clicks` in GET /api/clicks."""
        return {
            "time": datetime.fromtimestamp(self.time_s, UTC).isoformat(timespec="milliseconds"),
            "project": self.project,
            "tasks": list(self.tasks),
            "prompts": self.prompts,
            "milliseconds": {name: round(1e3 * seconds, 1) for name, seconds in self.stages_s.items()},
            "model": self.model,
            "result": self.result,
            "reason": self.reason,
            "request_id": self.request_id,
        }


@dataclass
class OpenClick:
    """A request that is being answered; the code that answers it sets the fields."""

    project: int | None = None
    tasks: tuple[int, ...] = ()
    prompts: str = "none"
    model: str = ""
    result: str = ""
    is_listed: bool = True
    replaces: str = ""  # an earlier entry with the same text here is dropped
    reasons: list[str] = field(default_factory=list)


class ClickLog:
    """Keeps the last `MAX_CLICKS` requests in memory; threads may share it."""

    def __init__(self) -> None:
        self._clicks: deque[tuple[str, Click]] = deque(maxlen=MAX_CLICKS)

    def newest_first(self) -> list[Click]:
        """Return the kept requests."""
        return [click for _, click in reversed(self._clicks.copy())]

    @contextmanager
    def recording(self) -> Iterator[OpenClick]:
        """Yield the entry of the request that the block answers, and keep it at the end of the block.

        An error of the block becomes the reason and is raised again.
        """
        click = OpenClick()
        token = _reasons.set(click.reasons)
        with metrics.measured_stages() as stages:
            began, time_s = time.perf_counter(), time.time()
            try:
                yield click
            except BackendError as error:
                click.reasons.append(str(error))
                click.is_listed = True
                raise
            except Exception:
                click.reasons.append("internal error: see the backend's log")
                click.is_listed = True
                raise
            finally:
                _reasons.reset(token)
                if click.is_listed:
                    stages_s = {**stages, "total": time.perf_counter() - began}
                    self._append(click.replaces, _closed(click, time_s, stages_s))

    def _append(self, replaces: str, click: Click) -> None:
        if replaces:
            for entry in self._clicks.copy():
                if entry[0] == replaces:
                    with suppress(ValueError):  # another thread has removed it
                        self._clicks.remove(entry)
        self._clicks.append((replaces, click))


def log_missing_mask(name: str, reason: str) -> None:
    """Log why a prompt of the task `name` gets no mask, and note it for the current request."""
    logger.warning("%s: %s: no mask returned", name, reason)
    note_reason(f"{name}: {reason}: no mask returned")


def note_reason(reason: str) -> None:
    """Note why the current request gets less than it asked for; nothing outside of `ClickLog.recording`."""
    reasons = _reasons.get()
    if reasons is not None and len(reasons) < MAX_CLICKS:
        reasons.append(reason)


def _closed(click: OpenClick, time_s: float, stages_s: Mapping[str, float]) -> Click:
    reason = escape_control_characters(mask_userinfo("; ".join(click.reasons)))
    if len(reason) > MAX_REASON_LENGTH:
        reason = f"{reason[:MAX_REASON_LENGTH]}..."
    return Click(
        time_s=time_s,
        project=click.project,
        tasks=click.tasks[:MAX_CLICKS],
        prompts=click.prompts,
        stages_s=stages_s,
        model=click.model,
        result=click.result,
        reason=reason,
        request_id=current_request_id(),
    )
