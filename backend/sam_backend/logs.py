"""The log: one line per event, on standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from sam_backend.redaction import escape_control_characters, mask_userinfo
from sam_backend.request_ids import current_request_id

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
TRACEBACK_INDENT = "    "
LONGEST_LINE = 8000  # characters of one event
LONGEST_TRACEBACK = 32_000  # characters, of which the last ones are kept
_LONGEST_USERINFO = 2100  # a URL's user and password are masked also where the line is cut behind them


class LogFormatter(logging.Formatter):
    """Formats records so that no text from outside can forge a line, move the cursor, or show a URL's password.

    A line ends with the id of the request that it belongs to. A traceback keeps its lines; each is indented, so that
    none looks like an event. Long lines are cut.
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
    """Formats a record as one JSON object: time (UTC), level, logger, message, request_id, and exception if any."""

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
    """Send our log to standard error, from `level` (DEBUG, INFO, WARNING, ERROR) on, as `text` or `json`."""
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
    line = mask_userinfo(line[: LONGEST_LINE + _LONGEST_USERINFO])
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "..."


def _indented(lines: str) -> str:
    masked = (TRACEBACK_INDENT + escape_control_characters(_cut(line)) for line in lines.split("\n"))
    text = "\n".join(masked)
    if len(text) <= LONGEST_TRACEBACK:
        return text
    return TRACEBACK_INDENT + "..." + text[text.index("\n", len(text) - LONGEST_TRACEBACK) :]
