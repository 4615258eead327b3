"""`label-studio-sam doctor`: what this installation lacks until an annotator gets a mask, and the next step of each."""

import argparse
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict

DESCRIPTION = """Looks at the settings of the environment as `serve` would: loads the model, asks Label Studio, tries
the token, and looks for a connected project. Exit code 0: nothing is missing; 1: something is; 2: a setting is bad."""
LOADING_S = 3600.0  # a download may be part of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.description = DESCRIPTION
    parser.add_argument("--json", action="store_true", help="the checks as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from sam_backend.errors import ModelNotReadyError
    from sam_backend.logs import configure_logs
    from sam_backend.service.service import assemble
    from sam_backend.settings import Settings, SettingsError
    from sam_model.weights.store import store_from_env

    settings = Settings.from_env()
    configure_logs("CRITICAL")  # the checks say it
    try:
        service = assemble(settings, store_from_env(os.environ))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if not args.json:
        print("loading the model ...", file=sys.stderr)
    with suppress(ModelNotReadyError):  # the check of the model tells
        service.model.segmenter(LOADING_S)
    checks = service.health_monitor.check_now()
    if args.json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            print(f"ok       {check.name}: {check.found}" if check.ok else f"missing  {check.name}: {check.problem}")
            if not check.ok:
                print(f"         next: {check.next_step}")
    return 0 if all(check.ok for check in checks) else 1
