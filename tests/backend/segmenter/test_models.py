import gc
import random
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from sam_backend.segmenter.choice import ModelChoice
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.models import RETRY_S, Models, SwitchRunningError
from sam_model.types import Prompt
from sam_model.weights.download import OnProgress, Progress
from sam_model.weights.errors import BrokenWeightsError
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.waiting import wait_until

IMAGE = np.zeros((10, 12, 3), np.uint8)
Load = Callable[[OnProgress], DiscSegmenter]


def choice(name: str, load: Load = lambda _: DiscSegmenter(), size: int = 1) -> ModelChoice:
    return ModelChoice(name, f"{name}-1", load, weights_bytes=lambda: size)


def loading(name: str = "old") -> ModelLoading:
    return ModelLoading(choice(name))


def test_a_switch_changes_the_answering_model_only_when_the_new_one_is_ready() -> None:
    go_on = threading.Event()
    models = Models(loading())
    before = models.for_request()
    old = before.segmenter()

    switch = models.switch_to("new", lambda: choice("new", lambda _: DiscSegmenter() if go_on.wait(10) else None))  # type: ignore[arg-type, return-value]
    during = models.for_request()
    assert (during.name, during.segmenter() is old, switch.state) == ("old", True, "loading")
    go_on.set()
    wait_until(lambda: switch.state == "done")

    after = models.for_request()
    assert (after.name, after.version) == ("new", "new-1")
    assert after.segmenter() is not old
    assert (before.name, before.segmenter() is old) == ("old", True), "a request ends with the model it began with"


def test_a_model_that_cannot_be_loaded_or_fails_its_self_test_leaves_the_old_one() -> None:
    class BrokenSegmenter(DiscSegmenter):
        def segment(self, *_: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("no such kernel")

    def broken_file(_: OnProgress) -> DiscSegmenter:
        raise BrokenWeightsError("new.pt has sha256 0")

    models = Models(loading())

    for load, problem in (
        (broken_file, "could not load model new: new.pt has sha256 0"),
        (lambda _: BrokenSegmenter(), "no such kernel"),
    ):
        switch = models.switch_to("new", lambda load=load: choice("new", load))  # type: ignore[misc]
        wait_until(lambda switch=switch: switch.state != "loading")  # type: ignore[misc]
        assert (switch.state, switch.problem) == ("failed", problem)
        assert models.for_request().segmenter().name == "disc"
        assert models.default.name == "old"


def test_two_switches_at_the_same_time_are_refused() -> None:
    go_on = threading.Event()
    models = Models(loading())
    models.switch_to("new", lambda: choice("new") if go_on.wait(10) else choice("late"))

    with pytest.raises(SwitchRunningError, match="the switch to new is running"):
        models.switch_to("other", lambda: choice("other"))

    go_on.set()
    wait_until(lambda: models.default.name == "new")
    models.switch_to("other", lambda: choice("other"))
    wait_until(lambda: models.default.name == "other")


def test_models_of_projects_are_loaded_when_asked_for_and_the_least_recently_used_is_unloaded() -> None:
    loads: list[str] = []

    def noting(name: str) -> Load:
        return lambda _: loads.append(name) or DiscSegmenter()  # type: ignore[func-returns-value]

    models = Models(loading(), {name: choice(name, noting(name), size=4) for name in "abc"}, max_bytes=8)
    assert loads == []

    for name in "abacab":
        assert models.for_request(name).segmenter().name == "disc"

    assert loads == ["a", "b", "c", "b"]  # c took the place of b, and b that of c
    assert models.loaded_names == ("a", "b")
    assert models.for_request("unknown").name == models.for_request("old").name == "old"
    assert (models.version("a"), models.version("unknown"), models.version()) == ("a-1", "old-1", "old-1")


def test_a_request_ends_with_its_model_while_that_is_unloaded_and_then_the_model_is_freed() -> None:
    first = DiscSegmenter()
    first.go_on.clear()
    freed = weakref.ref(first)
    made = {"a": [first], "b": [DiscSegmenter()]}
    choices = {name: choice(name, lambda _, name=name: made[name].pop(), size=4) for name in "ab"}  # type: ignore[misc]
    del first
    models, shapes = Models(loading(), choices, max_bytes=4), []

    def click(name: str) -> None:
        segmenter = models.for_request(name).segmenter()
        embedding = segmenter.embed(IMAGE)
        (scored,) = segmenter.segment(embedding, [Prompt(box=(2.0, 2.0, 8.0, 6.0))])
        shapes.append((name, scored.mask.shape))

    slow = threading.Thread(target=click, args=("a",))
    slow.start()
    wait_until(lambda: (segmenter := freed()) is not None and bool(segmenter.images))  # it computes
    click("b")
    assert models.loaded_names == ("b",)
    assert shapes == [("b", (10, 12))]
    segmenter = freed()
    assert segmenter is not None
    segmenter.go_on.set()
    del segmenter
    slow.join()

    assert shapes == [("b", (10, 12)), ("a", (10, 12))]
    gc.collect()
    assert freed() is None, "the unloaded model is still in memory"


def test_clicks_of_many_threads_are_answered_by_their_models_while_these_replace_each_other() -> None:
    def named(name: str) -> Load:
        def load(_: OnProgress) -> DiscSegmenter:
            segmenter = DiscSegmenter()
            segmenter.name = name
            return segmenter

        return load

    models = Models(loading(), {name: choice(name, named(name), size=4) for name in "abc"}, max_bytes=8)
    wrong: list[str] = []

    def click(seed: int) -> None:
        for name in random.Random(seed).choices("abc", k=60):
            request = models.for_request(name)
            found = request.segmenter()
            found.embed(IMAGE)
            if (found.name, request.name, request.note) != (name, name, None):
                wrong.append(f"{name} was answered by {found.name}: {request.note}")
            if len(models.loaded_names) > 2:
                wrong.append(f"more than the allowed bytes: {models.loaded_names}")

    threads = [threading.Thread(target=click, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_the_default_model_answers_while_the_projects_model_is_downloaded_or_if_it_fails() -> None:
    go_on, started = threading.Event(), threading.Event()
    now = [0.0]

    def slow(on_progress: OnProgress) -> DiscSegmenter:
        on_progress(Progress("slow.pt", 1_000_000, 4_000_000))
        started.set()
        go_on.wait(10)
        return DiscSegmenter()

    tries: list[int] = []

    def failing_once(_: OnProgress) -> DiscSegmenter:
        tries.append(1)
        if len(tries) == 1:
            raise BrokenWeightsError("bad.pt is truncated")
        return DiscSegmenter()

    of_projects = {"slow": choice("slow", slow), "bad": choice("bad", failing_once)}
    models = Models(loading(), of_projects, max_bytes=99, clock=lambda: now[0])

    models.for_request("slow").ready_segmenter()
    started.wait(10)
    during, failed = models.for_request("slow"), models.for_request("bad")
    during.segmenter(), failed.segmenter()

    assert (during.name, failed.name) == ("old", "old")
    assert during.note == "model slow is being downloaded: 1.0 of 4.0 MB downloaded; old answered"
    assert failed.note == "could not load model bad: bad.pt is truncated; old answered"
    go_on.set()
    wait_until(lambda: models.for_request("slow").ready_segmenter() is not None)
    after = models.for_request("slow")
    after.segmenter()
    assert (after.name, after.note) == ("slow", None)
    now[0] = RETRY_S / 2
    assert models.for_request("bad").ready_segmenter() is None
    now[0] = 3 * RETRY_S
    again = models.for_request("bad")
    again.segmenter()
    assert (again.name, len(tries)) == ("bad", 2)
