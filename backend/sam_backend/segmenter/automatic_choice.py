"""What `SAM_MODEL=auto` means on this machine.

On a GPU the best of SAM 2.1 that fits into its memory; on a CPU the model with the best published quality whose
embedding takes at most `MAX_RATIO` of MobileSAM's time in the installed runtime, as recorded by
tests/benchmarks/model_speeds.py. Nothing is timed at the start. A model whose weights are stored is preferred to a
better one that would have to be downloaded. Only weights under Apache-2.0 are chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import urllib3

from sam_backend.settings import Settings, SettingsError
from sam_model.benchmark.published_quality import BEST_FIRST
from sam_model.benchmark.recorded_speeds import recorded_speed
from sam_model.runtime.probe import find_runtime
from sam_model.weights.catalog import WeightFile, find_weights
from sam_model.weights.download import content_length
from sam_model.weights.errors import WeightsUnavailableError
from sam_model.weights.store import Presence, WeightStore

MAX_RATIO = 1.5
LARGE, BASE_PLUS = "sam2.1_hiera_large", "sam2.1_hiera_base_plus"
LARGE_NEEDS_MIB = 12 * 1024  # of GPU memory; a smaller GPU gets base+
SMALL_MODELS = ("efficienttam_ti", "sam_hq_tiny", "mobile_sam")  # stored ones serve a GPU that cannot get SAM 2.1
PROBE_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class AutomaticChoice:
    """The chosen weights, None for the classical segmenter; and why."""

    weights: WeightFile | None
    reason: str
    next_step: str = ""  # how to get a better one


def automatic_choice(settings: Settings, store: WeightStore) -> AutomaticChoice:
    """Return what `SAM_MODEL=auto` means with these settings on this machine.

    Raises:
        SettingsError: the runtime or the device cannot be used.
    """
    try:
        found = find_runtime(settings.runtime, settings.device, settings.dtype)
    except ValueError as error:
        raise SettingsError(f"SAM_RUNTIME, SAM_DEVICE, SAM_DTYPE: {error}") from None
    runtime, memory_mib = found.runtime, found.gpu_memory_mib
    if runtime.device == "cpu":
        names = models_for_cpu(runtime.name)
        return available_choice(
            names,
            f"the best published quality among the models whose embedding takes at most {MAX_RATIO:g} times as long as "
            f"MobileSAM's with {runtime.name} on a CPU",
            store,
        )
    names = models_for_gpu(memory_mib)
    memory = "memory not known" if memory_mib is None else f"{memory_mib / 1024:.0f} GiB"
    return available_choice(names, f"the best model for the GPU {runtime.device} ({memory})", store, SMALL_MODELS)


def best_weights(settings: Settings) -> WeightFile:
    """Return the weights that `SAM_MODEL=auto` would use if all were stored.

    Raises:
        ValueError: the runtime or the device cannot be used.
    """
    found = find_runtime(settings.runtime, settings.device, settings.dtype)
    is_cpu = found.runtime.device == "cpu"
    return find_weights((models_for_cpu(found.runtime.name) if is_cpu else models_for_gpu(found.gpu_memory_mib))[0])


def models_for_cpu(runtime: str) -> tuple[str, ...]:
    """Return the models that are fast enough in the runtime `torch` or `openvino`, the best first."""
    speeds = {name: recorded_speed(name, runtime) for name in BEST_FIRST}
    return tuple(name for name, speed in speeds.items() if speed is not None and speed.embed_ratio <= MAX_RATIO)


def models_for_gpu(memory_mib: int | None) -> tuple[str, ...]:
    """Return the models for a GPU with so much memory (None: not known), the best first."""
    return (LARGE, BASE_PLUS) if memory_mib is not None and memory_mib >= LARGE_NEEDS_MIB else (BASE_PLUS,)


def available_choice(
    names: Sequence[str], reason: str, store: WeightStore, stored_only: Sequence[str] = ()
) -> AutomaticChoice:
    """Return the first model whose weights are stored, else the first that can be downloaded, else the classical one.

    Args:
        names: the best first.
        reason: why the first one is the best.
        store: the weights.
        stored_only: used if their weights are stored and none of `names` is available.
    """
    candidates = [find_weights(name) for name in names]
    best = candidates[0]
    stored = next((each for each in candidates if _is_stored(store, each)), None)
    if stored is not None:
        better = "" if stored is best else f"; the best one, {best.model}, is not downloaded"
        return AutomaticChoice(stored, f"{reason}; its weights are stored{better}")
    found = next((each for each in candidates if _can_be_downloaded(store, each)), None)
    if found is not None:
        return AutomaticChoice(found, f"{reason}; its weights can be downloaded")
    missing = f"no weights of {' or '.join(names)} are stored, and their server cannot be reached"
    for each in map(find_weights, stored_only):
        if _is_stored(store, each):
            return AutomaticChoice(each, f"{missing}; the weights of {each.model} are stored")
    return AutomaticChoice(None, missing, store.how_to_get(best))


def _is_stored(store: WeightStore, weights: WeightFile) -> bool:
    return store.status(weights).presence is Presence.PRESENT


def _can_be_downloaded(store: WeightStore, weights: WeightFile) -> bool:
    """Return whether the server of the weights answers within `PROBE_TIMEOUT_S`."""
    if store.is_offline:
        return False
    try:
        content_length(store.url(weights), store.proxies, urllib3.Timeout(total=PROBE_TIMEOUT_S))
    except WeightsUnavailableError:
        return False
    return True
