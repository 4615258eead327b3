import threading

import pytest
from sam_testing.disc_segmenter import DiscSegmenter

from sam_backend.errors import ModelNotReadyError
from sam_backend.model_loading import ModelLoading


def test_a_model_is_loaded_once_however_many_ask() -> None:
    loaded: list[DiscSegmenter] = []

    def load() -> DiscSegmenter:
        loaded.append(DiscSegmenter())
        return loaded[-1]

    model = ModelLoading("disc", load)
    model.start()

    assert model.segmenter(wait_s=10) is model.segmenter(wait_s=10) is loaded[0]
    assert (len(loaded), model.state, model.problem) == (1, "ready", None)


def test_nothing_is_loaded_before_somebody_asks() -> None:
    model = ModelLoading("disc", lambda: pytest.fail("loaded too early"))

    assert model.state == "loading"


def test_a_click_waits_for_a_model_that_loads() -> None:
    go_on = threading.Event()
    segmenter = DiscSegmenter()
    model = ModelLoading("disc", lambda: segmenter if go_on.wait(timeout=10) else pytest.fail("never went on"))
    model.start()
    threading.Timer(0.05, go_on.set).start()

    assert model.segmenter(wait_s=10) is segmenter


def test_a_failure_is_told_to_everyone_who_asks() -> None:
    def load() -> DiscSegmenter:
        raise ValueError("model 'x' is unknown")

    model = ModelLoading("x", load)

    for _ in range(2):
        with pytest.raises(ModelNotReadyError, match="model x cannot be loaded: model 'x' is unknown"):
            model.segmenter(wait_s=10)
    assert model.state == "failed"
