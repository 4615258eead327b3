import io
import logging

import pytest

from sam_backend.logs import LogFormatter

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
