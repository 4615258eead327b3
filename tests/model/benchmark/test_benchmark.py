from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_model.benchmark import compared_model as module
from sam_model.benchmark import model_speed
from sam_model.benchmark.compared_model import compared_model
from sam_model.benchmark.model_speed import REPEATS, ModelSpeed, duration_ms, measure, synthetic_image
from sam_model.benchmark.runtime_comparison import RuntimeComparison
from sam_model.benchmark.speed_plot import (
    AUTHORS,
    EVERYTHING,
    FASTEST,
    PROMPT,
    TORCH,
    draw_runtimes,
    draw_speeds,
    duration_words,
)
from sam_model.sam.sizes import MOBILE_SAM
from sam_model.sam_checkpoints import SIZES, AnySize
from sam_model.weights.catalog import CATALOG, WeightFile, find_weights
from sam_model.weights.store import WeightStore
from sam_testing.seeded_checkpoints import TINY_VIT_SAM, write_seeded_checkpoint
from sam_testing.yolo_files import SIZE_N, write_yolo_file

PARAMETERS = {  # in millions, as published with the models
    "mobile_sam": 10.1,
    "sam2.1_hiera_tiny": 31.4,  # without the parts for videos
    "fastsam_s": 11.8,
    "yolov8n": 3.2,
    "yolov8n-seg": 3.4,
}
ROW = ModelSpeed("yolov8n", "AGPL-3.0", 6.3, False, 3_157_200, True, None, None, 32.0)


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    """An empty one that may not use the network."""
    return WeightStore(tmp_path, is_offline=True)


@pytest.fixture
def tiny_sam(monkeypatch: pytest.MonkeyPatch) -> WeightFile:
    """A catalogue's entry for a SAM that is fast enough for tests."""
    monkeypatch.setitem(module.SAM_SIZES, "tiny", replace(TINY_VIT_SAM, name="tiny"))
    return WeightFile("tiny", "tiny.pt", "https://nowhere.example/tiny.pt", "", 0, "none")


@pytest.fixture
def each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed more often than it must be: the numbers do not matter here."""
    monkeypatch.setattr(model_speed, "REPEATS", 1)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_that_were_published(store: WeightStore, name: str) -> None:
    compared = compared_model(find_weights(name), store)

    assert compared.parameters / 1e6 == pytest.approx(PARAMETERS[name], abs=0.05)
    assert compared.is_seeded


@pytest.mark.parametrize("weights", CATALOG, ids=lambda weights: weights.model)
def test_every_model_of_the_catalogue_has_an_architecture_here(weights: WeightFile) -> None:
    assert weights.model in SIZES or module.YOLO_NAME.fullmatch(weights.model)


@pytest.mark.usefixtures("each_once")
def test_a_detector_has_a_time_for_everything_only(store: WeightStore) -> None:
    row = measure(compared_model(find_weights("yolov8n-seg"), store), synthetic_image(48, 64))

    assert (row.prompt_ms, row.next_prompt_ms) == (None, None)
    assert row.everything_ms is not None
    assert row.everything_ms > 0
    assert row.size_mb == 7.1  # of the catalogue
    assert row.is_size_exact


@pytest.mark.usefixtures("each_once")
def test_fast_sam_has_all_times(store: WeightStore) -> None:
    row = measure(compared_model(find_weights("fastsam_s"), store), synthetic_image(48, 64))

    assert None not in (row.prompt_ms, row.next_prompt_ms, row.everything_ms)


@pytest.mark.usefixtures("each_once")
def test_a_sam_has_all_times_and_everything_can_be_left_out(store: WeightStore, tiny_sam: WeightFile) -> None:
    compared = compared_model(tiny_sam, store)

    row = measure(compared, synthetic_image(48, 64), points_per_side=1)

    assert None not in (row.prompt_ms, row.next_prompt_ms, row.everything_ms)
    assert measure(compared, synthetic_image(48, 64), points_per_side=None).everything_ms is None


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone(
    store: WeightStore, tiny_sam: WeightFile
) -> None:
    import torch

    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, other = (compared_model(tiny_sam, store).model.fingerprint for _ in range(2))

    assert one == other
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_find_nothing(store: WeightStore) -> None:
    model = compared_model(find_weights("yolov8n-seg"), store).model

    assert model.detect(synthetic_image(96, 128), score_threshold=0.01) == []


def test_weights_that_are_here_are_taken(
    store: WeightStore, tmp_path: Path, tiny_sam: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    size: AnySize = module.SAM_SIZES["tiny"]
    path = write_seeded_checkpoint(tmp_path / "tiny.pt", size)
    monkeypatch.setattr(module, "load_sam", lambda path: load_tiny(path, size))

    compared = compared_model(tiny_sam, store)

    assert not compared.is_seeded
    assert compared.is_size_exact
    assert compared.size_mb == path.stat().st_size / 1e6


def load_tiny(path: Path, size: AnySize):  # type: ignore[no-untyped-def]
    from sam_model.sam_checkpoints import load_sam

    return load_sam(path, [size])


def test_a_file_of_ultralytics_that_is_here_is_taken(store: WeightStore, tmp_path: Path) -> None:
    weights = replace(find_weights("yolov8n"), sha256="")
    write_yolo_file(tmp_path / "yolov8n.pt", SIZE_N)

    compared = compared_model(weights, store)

    assert not compared.is_seeded
    assert compared.model.class_names == ("person", "dog", "bicycle")


def test_an_architecture_that_is_not_known_is_named(store: WeightStore) -> None:
    weights = replace(find_weights("yolov8n"), model="rtdetr")

    with pytest.raises(ValueError, match="'rtdetr' has an unknown architecture"):
        compared_model(weights, store)


def test_short_calls_are_repeated_and_the_first_one_does_not_count() -> None:
    calls: list[int] = []

    duration_ms(lambda: calls.append(1))

    assert len(calls) == 1 + REPEATS


def test_the_made_image_is_always_the_same_and_has_much_in_it() -> None:
    picture = synthetic_image(90, 160)

    assert picture.shape == (90, 160, 3)
    assert np.array_equal(picture, synthetic_image(90, 160))
    assert picture.std() > 30


@pytest.mark.parametrize(
    ("milliseconds", "words"), [(3.21, "3.2 ms"), (45.4, "45 ms"), (1000, "1 s"), (1820, "1.8 s"), (94_200, "94 s")]
)
def test_times_are_written_as_people_say_them(milliseconds: float, words: str) -> None:
    assert duration_words(milliseconds) == words


def bar_length(colour: tuple[int, int, int], part: NDArray[np.int64]) -> int:
    columns = np.flatnonzero((np.abs(part - colour).max(axis=2) < 8).any(axis=0))
    return int(np.ptp(columns)) if len(columns) else 0


def test_bars_grow_with_the_time_on_a_scale_of_powers_of_ten() -> None:
    rows = [
        replace(ROW, name="fast", everything_ms=10.0),
        replace(ROW, name="slow", prompt_ms=100.0, everything_ms=10_000.0),
    ]

    drawn = np.asarray(draw_speeds(rows, "an image")).astype(int)[92:]  # below title and legend

    scale = (1260 - 230 - 250) / 3  # pixels of a power of ten: from 10 ms to 10 s
    assert bar_length(PROMPT, drawn[:62]) == 0
    assert bar_length(PROMPT, drawn[62:124]) == pytest.approx(scale, abs=3)
    assert bar_length(EVERYTHING, drawn[62:124]) == pytest.approx(3 * scale, abs=3)
    assert bar_length(EVERYTHING, drawn[:62]) < 6


@pytest.mark.parametrize("has_authors", [True, False])
def test_runtimes_have_a_bar_each(has_authors: bool) -> None:
    ratios = {"ratio": 10.0, "cpu_ratio": 9.5}
    row = {"authors": {"median_ms": 1000.0}, "torch": {"median_ms": 100.0}, "auto": {"median_ms": 10.0} | ratios}
    found = RuntimeComparison("openvino-bfloat16", has_authors, {"embed": row, "1 point": row}, (0.99, 1.0))

    drawn = np.asarray(draw_runtimes(found, "an image")).astype(int)[92 + 62 : 92 + 124]

    scale = (1260 - 230 - 250) / (2 if has_authors else 1)  # pixels of a power of ten
    assert bar_length(FASTEST, drawn) < 6
    assert bar_length(TORCH, drawn) == pytest.approx(scale, abs=3)
    assert bar_length(AUTHORS, drawn[:, 230:1010]) == pytest.approx(2 * scale if has_authors else 0, abs=20)


def test_an_image_without_times_can_be_drawn() -> None:
    assert draw_speeds([replace(ROW, everything_ms=None)], "nothing").size[0] == 1260
    assert draw_speeds([], "nothing").size[0] == 1260


def test_mobile_sam_is_the_size_of_its_file(store: WeightStore) -> None:
    assert MOBILE_SAM.name in SIZES
    assert compared_model(find_weights("mobile_sam"), store).size_mb == pytest.approx(40.728226)
