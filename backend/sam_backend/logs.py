"""The log: one line per event, on standard error."""

import logging
from typing import Any

from sam_backend.redaction import escape_control_characters, mask_userinfo

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
TRACEBACK_INDENT = "    "


class LogFormatter(logging.Formatter):
    """Formats records so that no text from outside can forge a line, move the cursor, or show a URL's password.

    A traceback keeps its lines; each is indented, so that none looks like an event.
    """

    def __init__(self, format_: str = FORMAT) -> None:
        super().__init__(format_)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is logging's
        """Return the event's line."""
        return escape_control_characters(mask_userinfo(super().formatMessage(record)))

    def formatException(self, exc_info: Any) -> str:  # noqa: N802
        """Return the traceback."""
        return _indented(super().formatException(exc_info))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Return the stack."""
        return _indented(super().formatStack(stack_info))


def configure_logs(level: str) -> None:
    """Send our log to standard error, from `level` (DEBUG, INFO, WARNING, ERROR) on."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("PIL").setLevel(logging.WARNING)


def _indented(lines: str) -> str:
    return "\n".join(TRACEBACK_INDENT + escape_control_characters(mask_userinfo(line)) for line in lines.split("\n"))
