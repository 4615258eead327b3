import re
import threading

import pytest

from sam_backend.request_ids import begin_request, current_request_id, end_request


@pytest.fixture(autouse=True)
def _no_request() -> None:
    end_request()


@pytest.mark.parametrize("given", ["a", "0a1b-2.3_4", "x" * 64])
def test_a_well_formed_id_of_the_caller_is_taken(given: str) -> None:
    assert begin_request(given) == given
    assert current_request_id() == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\nb", "a\n", "é", "<script>"])
def test_another_id_is_made_where_the_callers_is_not_well_formed(given: str | None) -> None:
    made = begin_request(given)

    assert re.fullmatch("[0-9a-f]{16}", made)
    assert made != begin_request(given)


def test_another_thread_has_no_part_in_the_request() -> None:
    begin_request("mine")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(current_request_id()))
    thread.start()
    thread.join()

    assert seen == [None]
