"""The command line `label-studio-sam`: parses, calls one room, prints."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from sam_backend.commands import annotate, bench, connect, doctor, preannotate, predict, runs, weights
from sam_backend.logs import configure_logs
from sam_backend.settings import Settings, SettingsError

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 asked for something impossible."""
    args = parser().parse_args(arguments)
    try:
        run = args.run
        return int(run(args))
    except SettingsError as error:
        print(f"label-studio-sam: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(prog="label-studio-sam", description="Segment Anything for Label Studio.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="answer Label Studio's clicks", description=_SERVE)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default %(default)s)"
    )
    serve.add_argument("--port", type=_port, default=9090, help="port to listen on (default %(default)s)")
    serve.set_defaults(run=_serve)
    connect_parser = commands.add_parser("connect", help="add the running backend to a project of Label Studio")
    connect.add_arguments(connect_parser)
    connect_parser.set_defaults(run=connect.run)
    doctor_parser = commands.add_parser("doctor", help="what is missing until an annotator gets a mask, and what to do")
    doctor.add_arguments(doctor_parser)
    doctor_parser.set_defaults(run=doctor.run)
    demo = commands.add_parser("demo", help="Label Studio, this backend and a few photos, ready to click")
    demo.add_argument("--exit", action="store_true", help="end after the check instead of staying up")
    demo.set_defaults(run=_demo)
    preannotate_parser = commands.add_parser(
        "preannotate", help="detector and segmenter over a project of Label Studio"
    )
    preannotate.add_arguments(preannotate_parser)
    preannotate_parser.set_defaults(run=preannotate.run)
    runs_parser = commands.add_parser("runs", help="list, watch, pause, resume, retry and undo such runs")
    runs.add_arguments(runs_parser)
    runs_parser.set_defaults(run=runs.run)
    predict_parser = commands.add_parser("predict", help="segment one picture, without Label Studio")
    predict.add_arguments(predict_parser)
    predict_parser.set_defaults(run=predict.run)
    annotate_parser = commands.add_parser("annotate", help="a folder of pictures to YOLO, COCO and Label Studio files")
    annotate.add_arguments(annotate_parser)
    annotate_parser.set_defaults(run=annotate.run)
    bench_parser = commands.add_parser("bench", help="how large the models are, and how fast on this machine")
    bench.add_arguments(bench_parser)
    bench_parser.set_defaults(run=bench.run)
    weights_parser = commands.add_parser("weights", help="list, download, verify and find weights")
    weights.add_arguments(weights_parser)
    weights_parser.set_defaults(run=weights.run)
    return top


_SERVE = "Runs the ML backend until Ctrl-C. Settings come from the environment; README.md lists them."


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _serve(args: argparse.Namespace) -> int:
    from sam_backend.service.service import assemble
    from sam_backend.web.gunicorn_server import GunicornServer, check_port_is_free
    from sam_model.weights.store import store_from_env

    settings = Settings.from_env()
    configure_logs(settings.log_level, settings.log_format)
    try:
        check_port_is_free(args.host, args.port)
    except OSError as error:
        print(f"label-studio-sam: cannot listen on {args.host}:{args.port}: {error}", file=sys.stderr)
        return 1
    try:
        service = assemble(settings, store_from_env(os.environ))
    except ValueError as error:  # SAM_OFFLINE is the store's own
        raise SettingsError(str(error)) from None
    logger.info("listening on http://%s:%d", args.host, args.port)
    GunicornServer(service, args.host, args.port).run()
    return 0


def _demo(args: argparse.Namespace) -> int:
    from sam_backend.demo.demo import run_demo

    return run_demo(exit_after_check=args.exit)


if __name__ == "__main__":
    sys.exit(main())
