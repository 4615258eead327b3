"""`label-studio-sam doctor`: check the installation and show the next step for each problem."""

import argparse
import sys
from contextlib import suppress
from dataclasses import asdict

from sam_backend.commands.result import CommandResult

DESCRIPTION = """Check the installation with the settings that `serve` would use: load the model, and check the folders,
Label Studio's URL, version and token, and the connected projects. Each failed check shows the next step."""
LOADING_S = 3600.0  # includes a download


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> CommandResult:
    """Run all checks; the exit code is 1 if one of them failed."""
    from sam_backend.errors import ModelNotReadyError
    from sam_backend.logs import configure_logs
    from sam_backend.segmenter.weight_store import weight_store
    from sam_backend.service.service import assemble
    from sam_backend.settings import Settings

    settings = Settings.from_env()
    configure_logs("CRITICAL")  # the checks report the same problems
    service = assemble(settings, weight_store(settings))
    if not args.json:
        print("loading the model ...", file=sys.stderr)
    with suppress(ModelNotReadyError):  # the check of the model reports it
        service.model.segmenter(LOADING_S)
    checks = service.health_monitor.check_now()
    lines = []
    for check in checks:
        lines.append(f"ok       {check.name}: {check.found}" if check.ok else f"missing  {check.name}: {check.problem}")
        if not check.ok:
            lines.append(f"         next: {check.next_step}")
    is_ok = all(check.ok for check in checks)
    return CommandResult({"checks": [asdict(check) for check in checks]}, "\n".join(lines), exit_code=0 if is_ok else 1)
