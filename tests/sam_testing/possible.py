"""Tests whose requirements a machine lacks: skipped, but failed in CI."""

import os
from typing import NoReturn

import pytest


def not_possible(reason: str) -> NoReturn:
    """End the test: as skipped, in CI as failed."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)
