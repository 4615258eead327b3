"""`label-studio-sam runs`: list, show, pause, resume, retry, cancel and undo runs."""

import argparse
from typing import TYPE_CHECKING

from sam_backend.commands.label_studio_settings import label_studio_settings
from sam_backend.commands.preannotate import refuse_elsewhere, work_in_terminal
from sam_backend.commands.result import CommandResult
from sam_backend.commands.run_display import run_result, runs_table
from sam_backend.settings import Settings

if TYPE_CHECKING:
    from sam_backend.runs.run_store import Run

GIVE_UP_AFTER_S = 30.0  # without an answer of Label Studio
DESCRIPTION = """Manage the runs of this machine. pause and cancel also stop a run of another process; resume,
retry and undo do the work in this process."""
ACTIONS = {
    "list": "list all runs",
    "show": "show one run and its failed tasks",
    "pause": "stop the run; it can be resumed",
    "cancel": "stop the run for good; its predictions stay",
    "resume": "continue the run",
    "retry": "repeat the failed tasks",
    "undo": "remove the predictions that the run wrote",
    "review": "create a tab of the Data Manager with the riskiest tasks first",
}
WORK = ("resume", "retry", "undo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    actions = "; ".join(f"{action}: {words}" for action, words in ACTIONS.items())
    parser.description = f"{DESCRIPTION} Actions: {actions}."
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument(
        "run_id", nargs="?", metavar="RUN", help="id of the run, or its beginning (default: the newest)"
    )
    parser.add_argument(
        "--audit", metavar="5%", default="0", help="of review: a second tab with a random sample of the run's tasks"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Carry out one action.

    Raises:
        BackendError: the run is unknown, in a state that does not allow the action, or of another Label Studio.
    """
    from sam_backend.runs.run_store import RunStore, UnknownRunError, runs_folder

    store = RunStore(runs_folder(Settings.from_env().runs_dir))
    if args.action == "list":
        found, unreadable = store.runs(), store.unreadable()
        answer = {
            "runs": [one.progress().to_json() for one in found],
            "unreadable": [one.to_json() for one in unreadable],
        }
        warnings = tuple(f"run {one.id} cannot be read: {one.cause}" for one in unreadable)
        return CommandResult(answer, runs_table(found), warnings)
    newest = store.runs()[:1]
    if not args.run_id and not newest:
        raise UnknownRunError("there are no runs")
    chosen = store.get(args.run_id) if args.run_id else newest[0]
    if args.action in (*WORK, "review"):
        refuse_elsewhere(chosen, label_studio_settings())
    if args.action == "review":
        return _review(chosen, _share(args.audit))
    if args.action in ("pause", "cancel"):
        chosen.request(args.action)
    elif args.action == "retry":
        if not chosen.retry():
            return CommandResult(run_result(chosen).json, "no task failed")
    elif args.action in ("resume", "undo"):
        chosen.request(args.action)
    if args.action in WORK:
        return work_in_terminal(chosen, label_studio_settings(), args.json)
    return run_result(chosen)


def _review(chosen: "Run", audit_share: float) -> CommandResult:
    from sam_backend.label_studio.client import LabelStudioClient
    from sam_backend.label_studio.credentials import LabelStudioCredentials
    from sam_backend.label_studio.retry_policy import RetryPolicy
    from sam_backend.runs.review import AUDIT_TITLE, TITLE, start_review

    settings = label_studio_settings()
    api = LabelStudioClient(LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key))
    policy = RetryPolicy(lambda: False, GIVE_UP_AFTER_S, lambda message: None)
    review = start_review(chosen, api, policy, audit_share)
    address = f"{str(settings.label_studio_url).rstrip('/')}/projects/{chosen.configuration.project}/data?tab="
    lines = [f"{TITLE}: {address}{review.view}"]
    if review.audit_view is not None:
        lines.append(f"{AUDIT_TITLE}, {len(review.audit_tasks)} tasks: {address}{review.audit_view}")
    return CommandResult({"review": review.to_json(), "url": f"{address}{review.view}"}, "\n".join(lines))


def _share(text: str) -> float:
    """Parse a share such as `5%` or `0.05`.

    Raises:
        ValueError: it is not a number from 0 to 100 %.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"--audit {text} is not a share such as 5%")
    return share
