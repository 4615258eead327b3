import threading
from collections.abc import Callable

import pytest

from sam_backend.errors import ModelNotReadyError
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.segmenter.loading import ModelLoading
from sam_model.weights.download import OnProgress, Progress
from sam_model.weights.errors import WeightsUnavailableError
from sam_testing.disc_segmenter import DiscSegmenter


def loading(load: Callable[[OnProgress], DiscSegmenter], name: str = "disc") -> ModelLoading:
    return ModelLoading(ModelChoice(name, f"{name}-1", load))


def test_a_model_is_loaded_once_however_many_ask() -> None:
    loaded: list[DiscSegmenter] = []

    def load(_: OnProgress) -> DiscSegmenter:
        loaded.append(DiscSegmenter())
        return loaded[-1]

    model = loading(load)
    model.start()

    assert model.segmenter(wait_s=10) is model.segmenter(wait_s=10) is loaded[0]
    assert (len(loaded), model.state, model.problem) == (1, "ready", None)


def test_nothing_is_loaded_before_somebody_asks() -> None:
    model = loading(lambda _: pytest.fail("loaded too early"))

    assert model.state == "loading"


def test_a_click_waits_for_a_model_that_loads() -> None:
    go_on = threading.Event()
    segmenter = DiscSegmenter()
    model = loading(lambda _: segmenter if go_on.wait(timeout=10) else pytest.fail("never went on"))
    model.start()
    threading.Timer(0.05, go_on.set).start()

    assert model.segmenter(wait_s=10) is segmenter


def test_a_failure_is_told_to_everyone_who_asks() -> None:
    def load(_: OnProgress) -> DiscSegmenter:
        raise ValueError("model 'x' is unknown")

    model = loading(load, "x")

    for _ in range(2):
        with pytest.raises(ModelNotReadyError, match="could not load model x: model 'x' is unknown"):
            model.segmenter(wait_s=10)
    assert model.state == "failed"


def test_a_download_shows_how_far_it_is() -> None:
    go_on, shown = threading.Event(), threading.Event()

    def load(on_progress: OnProgress) -> DiscSegmenter:
        on_progress(Progress("mobile_sam.pt", 10_500_000, 40_700_000))
        shown.set()
        go_on.wait(timeout=10)
        return DiscSegmenter()

    model = loading(load)
    model.start()
    shown.wait(timeout=10)
    progress = model.progress
    go_on.set()
    model.segmenter(wait_s=10)

    assert progress == "10.5 of 40.7 MB downloaded"
    assert model.progress is None


def test_weights_that_break_off_leave_the_other_choice(caplog: pytest.LogCaptureFixture) -> None:
    def load(_: OnProgress) -> DiscSegmenter:
        raise WeightsUnavailableError("the server breaks off")

    disc = ModelChoice("disc", "disc-1", lambda _: DiscSegmenter())
    model = ModelLoading(ModelChoice("sam", "sam-1", load, fallback=disc))

    before = model.version
    segmenter = model.segmenter(wait_s=10)

    assert segmenter.name == "disc"
    assert (before, model.name, model.version, model.state) == ("sam-1", "disc", "disc-1", "ready")
    assert "could not load model sam: the server breaks off" in caplog.text
