"""A command-line option that has another name now."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class RenamedOption(argparse.Action):
    """Refuse an option's old name with the new one; help texts do not show the old name."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, new_name: str) -> None:
        """`new_name` is the option to use, such as `--max-detections`."""
        super().__init__(option_strings, dest, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self._new_name = new_name

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> NoReturn:
        """End the program with exit code 2."""
        parser.error(f"{option} was renamed: use {self._new_name} in its place")
