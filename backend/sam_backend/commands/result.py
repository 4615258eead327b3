"""What a subcommand returns to `main`, which prints it."""

from dataclasses import dataclass
from typing import Any


class CommandFailedError(Exception):
    """A subcommand could not do its work, with valid input: exit code 1."""


@dataclass(frozen=True)
class CommandResult:
    """The result of a subcommand."""

    json: Any = None  # for --json
    text: str = ""  # printed without --json
    warnings: tuple[str, ...] = ()  # printed on standard error, with and without --json
    exit_code: int = 0
