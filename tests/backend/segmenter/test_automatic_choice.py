"""What SAM_MODEL=auto means: the best model that is fast enough and whose weights are there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_backend.segmenter.automatic_choice import (
    LARGE_NEEDS_MIB,
    MAX_RATIO,
    available_choice,
    best_weights,
    models_for_cpu,
    models_for_gpu,
)
from sam_backend.segmenter.choice import choose_model
from sam_backend.settings import Settings
from sam_model.benchmark.published_quality import BEST_FIRST, COCO_BOX_PROMPTS, ONE_CLICK, PUBLISHED
from sam_model.benchmark.recorded_speeds import recorded_speed
from sam_model.weights.catalog import find_weights
from sam_model.weights.store import WeightStore
from sam_testing.web_server import Answer, Asked, serving

BEST, MOBILE = find_weights(models_for_cpu("torch")[0]), find_weights("mobile_sam")
CPU = Settings(device="cpu", runtime="torch")


def store_with(folder: Path, *models: str, mirror: str = "http://127.0.0.1:1", is_offline: bool = False) -> WeightStore:
    """Return a store with files of the right size; their hashes are checked when they are loaded."""
    for name in models:
        weights = find_weights(name)
        with (folder / weights.file).open("wb") as file:
            file.truncate(weights.size or 1)
    return WeightStore(folder, mirror=mirror, is_offline=is_offline)


@pytest.fixture
def mirror() -> Iterator[str]:
    """A server that has every file."""

    def answer(asked: Asked) -> Answer:
        sizes = {weights.file: weights.size or 1 for weights in map(find_weights, BEST_FIRST)}
        return Answer(b"", 200, {"Content-Length": str(sizes[asked.path.rpartition("/")[2]])})

    with serving(answer) as server:
        yield server.url


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_on_a_cpu_only_models_within_the_ratio_are_chosen_the_best_first(runtime: str) -> None:
    chosen = models_for_cpu(runtime)

    assert chosen[-1] == "mobile_sam"
    assert list(chosen) == sorted(chosen, key=BEST_FIRST.index)
    for name in BEST_FIRST:
        speed = recorded_speed(name, runtime)
        assert (name in chosen) == (speed is not None and speed.embed_ratio <= MAX_RATIO)


@pytest.mark.parametrize("metric", [COCO_BOX_PROMPTS, ONE_CLICK])
def test_the_order_of_quality_is_that_of_the_published_numbers(metric: str) -> None:
    numbers = [PUBLISHED[name].value for name in BEST_FIRST if name in PUBLISHED and PUBLISHED[name].metric == metric]

    assert len(numbers) > 1
    assert numbers == sorted(numbers, reverse=True)


def test_on_a_gpu_it_is_sam_2_1_large_where_memory_allows_else_base_plus() -> None:
    assert models_for_gpu(LARGE_NEEDS_MIB)[0] == "sam2.1_hiera_large"
    assert models_for_gpu(LARGE_NEEDS_MIB - 1) == models_for_gpu(None) == ("sam2.1_hiera_base_plus",)


def test_stored_weights_are_preferred_to_better_ones_that_would_be_downloaded(tmp_path: Path, mirror: str) -> None:
    chosen = choose_model(CPU, store_with(tmp_path, "mobile_sam", mirror=mirror))

    assert chosen.name == "mobile_sam"
    assert chosen.version == f"mobile_sam-{MOBILE.sha256[:8]}-float32"
    assert chosen.reason.endswith(f"its weights are stored; the best one, {BEST.model}, is not downloaded")


def test_without_stored_weights_the_best_one_that_a_server_has_is_downloaded(tmp_path: Path, mirror: str) -> None:
    online = choose_model(CPU, WeightStore(tmp_path, mirror=mirror))
    by_proxy = choose_model(CPU, WeightStore(tmp_path, mirror="http://weights.invalid", proxies={"http": mirror}))
    offline = choose_model(CPU, WeightStore(tmp_path, mirror=mirror, is_offline=True))

    assert (online.name, offline.name, by_proxy.name) == (BEST.model, "classical", BEST.model)
    assert "its weights can be downloaded" in online.reason
    assert online.fallback is not None
    assert online.fallback.name == "classical"


def test_without_any_weights_it_is_classical_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = choose_model(CPU, store_with(tmp_path))

    assert chosen.name == "classical"
    assert f"SAM_MODEL=auto: no weights of {BEST.model} or" in caplog.text
    assert "SAM_WEIGHTS_DIR" in caplog.text
    assert best_weights(CPU) == BEST


def test_a_gpu_without_sam_2_1_uses_a_small_model_that_is_stored(tmp_path: Path) -> None:
    chosen = available_choice(models_for_gpu(None), "a GPU", store_with(tmp_path, "mobile_sam"), ("mobile_sam",))

    assert chosen.weights == MOBILE
    assert chosen.reason == (
        "no weights of sam2.1_hiera_base_plus are stored, and their server cannot be reached; the weights of "
        "mobile_sam are stored"
    )
