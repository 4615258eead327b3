"""The command line `label-studio-sam`: parse the arguments, run one subcommand, print its result or its error."""

import argparse
import errno
import json
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from sam_backend.commands import (
    annotate,
    bench,
    connect,
    doctor,
    embeddings,
    evaluate,
    export,
    preannotate,
    predict,
    runs,
    serve,
    weights,
)
from sam_backend.commands.result import CommandFailedError, CommandResult
from sam_backend.errors import BackendError, LabelStudioError
from sam_backend.label_studio.backend_registration import RegistrationError
from sam_backend.label_studio.client import LabelStudioApiError
from sam_model.weights.errors import BrokenWeightsError, WeightsError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes
EXIT_CODES = """exit codes: 0 the command succeeded; 1 it failed; 2 an argument, a setting or an input file cannot be
used; 130 it was interrupted"""
# what the machine, not the caller, has to be blamed for
MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EADDRINUSE, errno.ENOMEM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code: 0 success, 1 failure, 2 bad input or settings, 130 interrupted."""
    args = parser().parse_args(arguments)
    try:
        result: CommandResult = args.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the edge of the program
        _print_error(_message(error))
        return _exit_code(error)
    for warning in result.warnings:
        _print_error(warning)
    if getattr(args, "json", False):
        print(json.dumps(result.json))
    elif result.text:
        print(result.text)
    return result.exit_code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(
        prog="label-studio-sam", description="Segment Anything for Label Studio.", epilog=EXIT_CODES
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, module, words in (
        ("serve", serve, "start the ML backend"),
        ("connect", connect, "register the running backend in a project of Label Studio"),
        ("doctor", doctor, "check the installation and show the next step for each problem"),
        ("preannotate", preannotate, "run a detector and a segmenter over a project of Label Studio"),
        ("runs", runs, "list, show, pause, resume, retry, cancel and undo runs"),
        ("embeddings", embeddings, "embed the images of a project, count or remove stored embeddings"),
        ("evaluate", evaluate, "compare a run's predictions with the annotations: quality, thresholds, calibration"),
        ("export", export, "write a project's annotations as a data set: COCO, YOLO, PNG masks, Label Studio"),
        ("predict", predict, "segment images and videos, without Label Studio"),
        ("annotate", annotate, "annotate a folder of images as YOLO, COCO and Label Studio files"),
        ("bench", bench, "measure the models on this machine"),
        ("weights", weights, "list, download, verify and locate weights"),
    ):
        command = commands.add_parser(name, help=words, epilog=EXIT_CODES)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    demo = commands.add_parser(
        "demo", help="start Label Studio and this backend with example images", epilog=EXIT_CODES
    )
    demo.add_argument("--exit", action="store_true", help="check one click, then exit")
    demo.set_defaults(run=_demo)
    return top


def _exit_code(error: Exception) -> int:
    if isinstance(error, LabelStudioError):
        return FAILED
    if isinstance(error, BackendError):
        return BAD_INPUT if error.status < 500 else FAILED
    if isinstance(error, OSError):
        return FAILED if error.errno in MACHINE_ERRORS else BAD_INPUT
    return BAD_INPUT if isinstance(error, (ValueError, BrokenWeightsError)) else FAILED


EXPECTED = (
    BackendError, CommandFailedError, RegistrationError, LabelStudioApiError, WeightsError, ValueError, OSError,
    ImportError,
)  # fmt: skip


def _message(error: Exception) -> str:
    """Return the error on one line; an unexpected error with the place where it was raised."""
    text = " ".join(str(error).split())
    if isinstance(error, EXPECTED):
        return text or type(error).__name__
    logging.getLogger(__name__).debug("unexpected error", exc_info=error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected error: {type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"


def _print_error(message: str) -> None:
    print(f"label-studio-sam: {message}", file=sys.stderr)


def _demo(args: argparse.Namespace) -> CommandResult:
    from sam_backend.demo.demo import run_demo

    return CommandResult(exit_code=run_demo(exit_after_check=args.exit))


if __name__ == "__main__":
    sys.exit(main())
