"""Previews are computed one at a time, each within a limit."""

import threading
from collections.abc import Callable

import pytest

from sam_backend.errors import BackendError, LabelStudioError, ModelNotReadyError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.run_store import RunStateError
from sam_backend.service.previews import OneAtATime, Previews, PreviewTimeoutError
from sam_backend.settings import Settings
from sam_model.weights.errors import WeightsUnavailableError
from sam_testing.service import SamService


def previews() -> Previews:
    parts = SamService(Settings()).parts
    return Previews(parts.settings, parts.credentials, parts.projects, parts.store)


def test_a_preview_that_takes_too_long_blocks_the_next_one_until_it_ends() -> None:
    one_at_a_time, may_end = OneAtATime(timeout_s=0.01, wait_for_other_s=0.01), threading.Event()

    with pytest.raises(PreviewTimeoutError, match=r"could not compute the preview within 0\.01 s: try fewer tasks"):
        one_at_a_time.compute(lambda: may_end.wait(30), "the preview")
    with pytest.raises(RunStateError, match="another one is being computed"):
        one_at_a_time.compute(lambda: 1, "the preview")
    may_end.set()
    one_at_a_time._timeout_s = one_at_a_time._wait_for_other_s = 30

    assert one_at_a_time.compute(lambda: 1, "the preview") == 1


def _raising(error: Exception) -> Callable[[], int]:
    def compute() -> int:
        raise error

    return compute


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (WeightsUnavailableError("x.pt is missing"), ModelNotReadyError, "the preview: x.pt is missing"),
        (LabelStudioError("no answer"), LabelStudioError, "no answer"),
    ],
)
def test_an_error_reaches_the_caller_and_the_next_preview_is_computed(
    error: Exception, expected: type[BackendError], message: str
) -> None:
    computed = OneAtATime(timeout_s=30, wait_for_other_s=30)

    with pytest.raises(expected, match=message):
        computed.compute(_raising(error), "the preview")

    assert computed.compute(lambda: 1, "the preview") == 1


def test_without_a_token_mapping_and_preview_name_the_fix() -> None:
    for call in (lambda: previews().mapping(RunConfiguration(1)), lambda: previews().preview(RunConfiguration(1), 2)):
        with pytest.raises(LabelStudioError, match=r"could not read project 1: no token is known; create"):
            call()
