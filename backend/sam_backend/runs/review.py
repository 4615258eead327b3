"""Review of a run: a tab of the Data Manager with the riskiest tasks first, and optionally one with a random sample.

Label Studio fills its column of prediction scores only from predictions whose `model_version` is the project's. So a
review makes the run's version the project's. Undoing the run removes the tabs and restores the version.
"""

import json
import math
import random
from dataclasses import asdict, dataclass
from functools import partial

from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.projects import project_details, show_predictions_of
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.task_conditions import TaskCondition
from sam_backend.label_studio.views import create_view, delete_view, views_titled
from sam_backend.runs.ledger import WRITTEN
from sam_backend.runs.run_store import Run, RunStateError
from sam_model.annotation.atomic_file import write_atomically

TITLE = "Review: riskiest first"
AUDIT_TITLE = "Review: random sample"
MAX_AUDIT_TASKS = 500  # each is a condition of the tab; SQLite takes 1,000
REVIEW_FILE = ".review.json"


@dataclass(frozen=True)
class Review:
    """The tabs of a run's review."""

    view: int
    audit_view: int | None = None
    audit_tasks: tuple[int, ...] = ()
    model_version_before: str = ""  # of the project

    def to_json(self) -> dict[str, object]:
        """Return the answer of POST /api/runs/ID/review."""
        return {"view": self.view, "audit_view": self.audit_view, "audit_tasks": list(self.audit_tasks)}


def start_review(run: Run, api: LabelStudioClient, retry_policy: RetryPolicy, audit_share: float = 0.0) -> Review:
    """Create the tabs of a review, unless they are there.

    Args:
        run: has written predictions.
        api: of the run's Label Studio.
        retry_policy: of its calls.
        audit_share: of the run's tasks, for the random sample; 0 for none. An earlier sample stays.

    Raises:
        RunStateError: the run has written nothing.
        LabelStudioApiError: Label Studio refuses, or does not answer for too long.
    """
    row, project = run.ledger.run(), run.configuration.project
    version = str(row["version"])
    if run.configuration.purpose != "predictions" or not row["written"]:
        raise RunStateError(f"run {run.id} has no predictions to review")
    known = load_review(run)
    details = retry_policy.call(lambda: project_details(api, project))
    before = details.model_version if details.model_version != version else ""
    if known is not None:
        before = known.model_version_before
    if details.model_version != version:
        retry_policy.call(lambda: show_predictions_of(api, project, version))
    view = _view(api, project, TITLE, [TaskCondition("total_annotations", "equal", 0)], retry_policy)
    tasks = known.audit_tasks if known is not None else ()
    if audit_share and not tasks:
        tasks = _random_sample(run, audit_share)
    audit_view = None
    if tasks:
        conditions = [TaskCondition("id", "equal", task) for task in tasks]
        if known is None or known.audit_view is None:  # a tab of this name has the sample of another run
            for other in retry_policy.call(lambda: views_titled(api, project, AUDIT_TITLE)):
                retry_policy.call(partial(delete_view, api, other))
        audit_view = _view(api, project, AUDIT_TITLE, conditions, retry_policy, needs_all=False)
    review = Review(view, audit_view, tasks, before)
    write_atomically(run.file_beside(REVIEW_FILE), json.dumps(asdict(review)).encode())
    return review


def load_review(run: Run) -> Review | None:
    """Return the run's review; None if there is none."""
    try:
        found = json.loads(run.file_beside(REVIEW_FILE).read_bytes())
        return Review(
            int(found["view"]),
            found["audit_view"],
            tuple(map(int, found["audit_tasks"])),
            str(found["model_version_before"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_review(run: Run, api: LabelStudioClient, retry_policy: RetryPolicy) -> None:
    """Delete the tabs of a run's review and restore the project's model version, as far as they are this run's.

    While the project shows another run, the tab with the riskiest tasks is that run's.
    """
    review, project = load_review(run), run.configuration.project
    version = str(run.ledger.run()["version"])
    details = retry_policy.call(lambda: project_details(api, project))
    is_shown = bool(version) and details.model_version == version
    views = [] if review is None else [review.view if is_shown else None, review.audit_view]
    for view in views:
        if view is not None:
            retry_policy.call(partial(delete_view, api, view))
    if is_shown:
        before = "" if review is None else review.model_version_before
        retry_policy.call(lambda: show_predictions_of(api, project, before))
    run.file_beside(REVIEW_FILE).unlink(missing_ok=True)


def _view(
    api: LabelStudioClient,
    project: int,
    title: str,
    conditions: list[TaskCondition],
    retry_policy: RetryPolicy,
    *,
    needs_all: bool = True,
) -> int:
    """Return the project's tab with this title; create it if there is none."""
    found = retry_policy.call(lambda: views_titled(api, project, title))
    if found:
        return found[0]
    return retry_policy.call(lambda: create_view(api, project, title, conditions, needs_all=needs_all))


def _random_sample(run: Run, share: float) -> tuple[int, ...]:
    """Return the same random sample of the run's written tasks each time."""
    tasks: list[int] = []
    while found := run.ledger.tasks_in(WRITTEN, tasks[-1] if tasks else 0, 1000):
        tasks += found
    number = min(math.ceil(share * len(tasks)), MAX_AUDIT_TASKS)
    return tuple(sorted(random.Random(run.id).sample(tasks, number)))  # noqa: S311  # a sample, no secret
