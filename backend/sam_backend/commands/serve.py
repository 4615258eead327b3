"""`label-studio-sam serve`: start the ML backend."""

import argparse
import logging

from sam_backend.commands.result import CommandFailedError, CommandResult
from sam_backend.logs import configure_logs
from sam_backend.settings import Settings

logger = logging.getLogger(__name__)

DESCRIPTION = """Start the ML backend and run it until Ctrl-C. Environment variables set its options; docs/settings.md
lists them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    parser.description = DESCRIPTION
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (default %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=9090, help="port to listen on (default %(default)s)")


def run(args: argparse.Namespace) -> CommandResult:
    """Serve requests until the process is stopped.

    Raises:
        SettingsError: a setting cannot be used.
        CommandFailedError: the address cannot be used.
    """
    from sam_backend.segmenter.weight_store import weight_store
    from sam_backend.service.service import assemble
    from sam_backend.web.gunicorn_server import GunicornServer, check_port_is_free

    settings = Settings.from_env()
    configure_logs(settings.log_level, settings.log_format)
    try:
        check_port_is_free(args.host, args.port)
    except OSError as error:
        raise CommandFailedError(f"cannot listen on {args.host}:{args.port}: {error}") from error
    service = assemble(settings, weight_store(settings))
    logger.info("listening on http://%s:%d", args.host, args.port)
    GunicornServer(service, args.host, args.port).run()
    return CommandResult()


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)
