"""The log: one line per event, on standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from sam_backend.redaction import escape_control_characters, mask_userinfo
from sam_backend.request_ids import current_request_id

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
TRACEBACK_INDENT = "    "
MAX_LINE = 8000  # characters of one event
MAX_TRACEBACK = 32_000  # characters, of which the last ones are kept
_MAX_USERINFO = 2100  # user and password of a URL are masked even if the line is truncated behind them


class LogFormatter(logging.Formatter):
    """Format records so that text from requests cannot forge a line, move the cursor, or show the password of a URL.

    A line ends with the id of its request. The lines of a traceback are indented, so that they do not look like events.
    Long lines are truncated.
    """

    def __init__(self, format_: str = FORMAT) -> None:
        super().__init__(format_)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is logging's
        """Return the event's line."""
        line = escape_control_characters(_cut(super().formatMessage(record)))
        request_id = current_request_id()
        return line if request_id is None else f"{line} request_id={request_id}"

    def formatException(self, exc_info: Any) -> str:  # noqa: N802
        """Return the traceback."""
        return _indented(super().formatException(exc_info))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Return the stack."""
        return _indented(super().formatStack(stack_info))


class JsonFormatter(LogFormatter):
    """Format a record as one JSON object: time (UTC), level, logger, message, request_id, and exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII JSON."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        request_id = current_request_id()
        if request_id is not None:
            event["request_id"] = request_id
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event)  # ASCII: escapes control characters and bidirectional overrides


FORMATTERS = {"text": LogFormatter, "json": JsonFormatter}


def configure_logs(level: str, format_: str = "text") -> None:
    """Write the log to standard error, from `level` (DEBUG, INFO, WARNING, ERROR) on, as `text` or `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[format_]())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("PIL").setLevel(logging.WARNING)


def configured_formatter() -> logging.Formatter:
    """Return the formatter that `configure_logs` chose, for loggers that have handlers of their own."""
    chosen = (handler.formatter for handler in logging.getLogger().handlers)
    return next((each for each in chosen if isinstance(each, LogFormatter)), LogFormatter())


def _cut(line: str) -> str:
    line = mask_userinfo(line[: MAX_LINE + _MAX_USERINFO])
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + "..."


def _indented(lines: str) -> str:
    masked = (TRACEBACK_INDENT + escape_control_characters(_cut(line)) for line in lines.split("\n"))
    text = "\n".join(masked)
    if len(text) <= MAX_TRACEBACK:
        return text
    return TRACEBACK_INDENT + "..." + text[text.index("\n", len(text) - MAX_TRACEBACK) :]
