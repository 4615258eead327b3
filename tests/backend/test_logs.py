import io
import json
import logging
from collections.abc import Iterator

import pytest

from sam_backend.logs import MAX_LINE, MAX_TRACEBACK, JsonFormatter, LogFormatter
from sam_backend.request_ids import begin_request, end_request

FORGED = "2026-01-01 00:00:00,000 INFO    sam_backend: all is well"


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(LogFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, lines


def test_an_event_is_one_line_whatever_is_in_it(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, lines = log

    logger.warning("webhook %s", f"x\n{FORGED}\r\x1b]0;owned\x07\u2028{FORGED}")

    assert len(lines.getvalue().splitlines()) == 1
    assert lines.getvalue().strip("\n").isprintable()


def test_a_message_without_arguments_is_escaped_too(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, lines = log

    logger.warning("a\nb")

    assert lines.getvalue().endswith("a\\nb\n")


def test_a_traceback_keeps_its_lines_but_none_can_be_taken_for_an_event(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, lines = log

    try:
        raise ValueError(f"\n{FORGED}\x1b[2J http://ann:secret@host")
    except ValueError:
        logger.exception("it failed")

    first, *rest = lines.getvalue().rstrip("\n").split("\n")
    assert first.endswith("it failed")
    assert len(rest) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert "secret" not in lines.getvalue()


def test_no_password_of_a_url_is_logged(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, lines = log

    logger.info("fetching %s", "http://ann:secret@host/a.png")

    assert "http://***@host/a.png" in lines.getvalue()
    assert "secret" not in lines.getvalue()


@pytest.fixture
def json_log(log: tuple[logging.Logger, io.StringIO]) -> tuple[logging.Logger, io.StringIO]:
    log[0].handlers[0].setFormatter(JsonFormatter())
    return log


@pytest.fixture
def request_id() -> Iterator[str]:
    yield begin_request("abc-1")
    end_request()


def test_a_line_ends_with_the_id_of_its_request(log: tuple[logging.Logger, io.StringIO], request_id: str) -> None:
    logger, lines = log

    logger.info("predict")

    assert lines.getvalue().endswith("predict request_id=abc-1\n")


def test_a_long_line_is_cut_and_shows_no_password_where_it_is_cut(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, lines = log

    for start in range(MAX_LINE - 100, MAX_LINE):
        logger.info("%s", "x" * start + " http://ann:secret@host/" + "y" * 10_000_000)

    assert all(len(line) <= MAX_LINE + 3 for line in lines.getvalue().splitlines())
    assert "secr" not in lines.getvalue()


def test_a_long_traceback_keeps_its_end(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, lines = log

    try:
        raise ValueError("\n".join(["line"] * 100_000 + ["the end"]))
    except ValueError:
        logger.exception("it failed")

    assert len(lines.getvalue()) < MAX_TRACEBACK + MAX_LINE
    assert lines.getvalue().endswith("    the end\n")


def test_json_has_one_object_per_event(json_log: tuple[logging.Logger, io.StringIO], request_id: str) -> None:
    logger, lines = json_log

    try:
        raise ValueError("http://ann:secret@host")
    except ValueError:
        logger.exception("webhook %s", f"x\n{FORGED}\u2028\x1b[2J http://ann:secret@host")

    (line,) = lines.getvalue().splitlines()
    event = json.loads(line)
    assert line.isprintable()
    assert "secret" not in line
    assert (event["level"], event["logger"], event["request_id"]) == ("ERROR", "test", "abc-1")
    assert event["message"].startswith(f"webhook x\n{FORGED}")
    assert "ValueError" in event["exception"]
    assert event["time"].endswith("+00:00")
