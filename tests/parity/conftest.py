"""Pairs of a reference model and ours with the same seeded weights, for all parity tests."""

from collections.abc import Callable

import pytest

from sam_testing.reference_pairs import Pair, pair_called


@pytest.fixture(scope="session", params=["mobile_sam", "sam_b"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """One pair after the other, both with all their layers."""
    return pair_called(request.param)


@pytest.fixture(scope="session")
def pairs() -> Callable[[str], Pair]:
    """A pair by its name, for tests that need only one."""
    return pair_called
