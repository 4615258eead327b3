"""`label-studio-sam runs`: bulk runs listed, watched, paused, cancelled, resumed, retried and undone."""

import argparse
import json
import sys

from sam_backend.commands.preannotate import needed_settings, refuse_elsewhere, work_in_terminal
from sam_backend.commands.run_display import describe, print_summary, print_table
from sam_backend.errors import BackendError
from sam_backend.settings import Settings

DESCRIPTION = """Bulk runs of this machine. pause and cancel reach a run wherever it is worked on; resume, retry and
undo do the work here."""
ACTIONS = {
    "list": "all runs",
    "show": "one run, with its failed tasks",
    "pause": "stop for now",
    "cancel": "stop for good; what is written stays",
    "resume": "go on",
    "retry": "do the failed tasks again",
    "undo": "remove exactly what the run wrote",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = DESCRIPTION
    parser.epilog = "; ".join(f"{action}: {words}" for action, words in ACTIONS.items())
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("run_id", nargs="?", metavar="RUN", help="the run's id, or how it begins (default: the newest)")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    try:
        return _run(args)
    except BackendError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 2 if error.status < 500 else 1


def _run(args: argparse.Namespace) -> int:
    from sam_backend.runs.run_store import RunStore, UnknownRunError, runs_folder

    runs = RunStore(runs_folder(Settings.from_env().runs_dir))
    if args.action == "list":
        found = runs.runs()
        if args.json:
            unreadable = [one.to_json() for one in runs.unreadable()]
            print(json.dumps({"runs": [one.progress().to_json() for one in found], "unreadable": unreadable}))
        else:
            print_table(found)
            for one in runs.unreadable():
                print(f"run {one.id} cannot be read: {one.cause}", file=sys.stderr)
        return 0
    newest = runs.runs()[:1]
    if not args.run_id and not newest:
        raise UnknownRunError("there are no runs yet")
    chosen = runs.get(args.run_id) if args.run_id else newest[0]
    if args.action in ("resume", "retry", "undo"):
        refuse_elsewhere(chosen, needed_settings())
    if args.action in ("pause", "cancel"):
        chosen.request(args.action)
    elif args.action == "retry":
        if not chosen.retry() and not args.json:
            print("no task failed")
            return 0
    elif args.action in ("resume", "undo"):
        chosen.request(args.action)
    if args.action in ("resume", "retry", "undo"):
        return work_in_terminal(chosen, needed_settings(), args.json)
    if args.json:
        print(json.dumps(describe(chosen)))
    else:
        print_summary(chosen)
    return 0
