"""The choice of the segmenter from the settings: its name and version, and how to load it."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import urllib3

from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.settings import Settings, SettingsError
from sam_model.interfaces import Segmenter
from sam_model.masks.cleaning import MaskCleaning
from sam_model.registry import MODEL_NAMES, load_segmenter
from sam_model.weights.catalog import WeightFile, find_weights
from sam_model.weights.download import OnProgress, content_length
from sam_model.weights.errors import WeightsUnavailableError
from sam_model.weights.store import Presence, WeightStore, sha256_of

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "mobile_sam"  # of SAM_MODEL=auto: a small download, and fast enough on a CPU
PROBE_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class ModelChoice:
    """A segmenter that can be loaded; `version` identifies model, weights and settings in predictions."""

    name: str
    version: str
    load: Callable[[OnProgress], Segmenter[Any]]
    fallback: "ModelChoice | None" = None  # used if the weights cannot be downloaded or read
    weights_bytes: Callable[[], int] = lambda: 0  # size of the file of weights; 0 if it is not known


def choose_model(settings: Settings, store: WeightStore) -> ModelChoice:
    """Return the segmenter of the settings.

    `auto` is MobileSAM if its weights are stored or can be downloaded, else the classical segmenter.

    Raises:
        SettingsError: `SAM_MODEL` is neither a model nor a file, or the runtime cannot be used.
    """
    cleaning = MaskCleaning(
        min_hole_area=settings.min_hole_area,
        min_region_area=settings.min_region_area,
        keep_clicked_region=settings.keep_clicked_region,
    )
    if settings.model == "classical":
        return _classical()
    if settings.model == "auto":
        weights = find_weights(DEFAULT_MODEL)
        if store.status(weights).presence is Presence.PRESENT or _can_be_downloaded(store, weights):
            return replace(_sam(DEFAULT_MODEL, weights.sha256, settings, cleaning, store), fallback=_classical())
        logger.warning(
            "could not find weights of %s: its server cannot be reached; falling back to the classical segmenter. %s",
            DEFAULT_MODEL,
            store.how_to_get(weights),
        )
        return _classical()
    path = Path(settings.model).expanduser()
    if path.is_file():
        return _sam(path.stem, sha256_of(path), settings, cleaning, store)
    try:
        weights = find_weights(settings.model)
    except ValueError as error:
        raise SettingsError(f"SAM_MODEL={settings.model!r} is neither a file nor a model: {error}") from None
    if weights.role != "segmenter":
        known = ", ".join(MODEL_NAMES)
        raise SettingsError(f"SAM_MODEL={settings.model!r} is a detector, not a segmenter; segmenters: {known}")
    return _sam(weights.model, _hash_of(weights, store), settings, cleaning, store)


def _hash_of(weights: WeightFile, store: WeightStore) -> str:
    """Return the recorded hash; without one, the hash of the first download."""
    return weights.sha256 or store.pinned_sha256(weights) or "unpinned"


def _classical() -> ModelChoice:
    from sam_model.classical.segmenter import ClassicalSegmenter

    segmenter = ClassicalSegmenter()
    return ModelChoice("classical", segmenter.fingerprint, lambda _: LimitedSegmenter(segmenter))


def _sam(name: str, sha256: str, settings: Settings, cleaning: MaskCleaning, store: WeightStore) -> ModelChoice:
    import sam_model.sam.segmenter  # noqa: F401  # now: importing PyTorch later would block the threads that answer requests
    from sam_model.runtime.choice import choose_runtime

    try:
        runtime = choose_runtime(settings.runtime, settings.device, settings.dtype)
    except ValueError as error:
        raise SettingsError(f"SAM_RUNTIME, SAM_DEVICE, SAM_DTYPE: {error}") from None
    logger.info("runtime of %s: %s in %s on %s", name, runtime.name, runtime.dtype, runtime.device)
    parts = [re.sub(r"[^A-Za-z0-9_.]+", "_", name), sha256[:8], str(runtime), str(cleaning)]
    name_or_path = DEFAULT_MODEL if settings.model == "auto" else settings.model
    return ModelChoice(
        name,
        "-".join(part for part in parts if part),
        lambda on_progress: LimitedSegmenter(
            load_segmenter(
                name_or_path,
                runtime.device,
                runtime.dtype,
                runtime=runtime.name,
                cleaning=cleaning,
                store=store,
                on_progress=on_progress,
            )
        ),
    )


def _can_be_downloaded(store: WeightStore, weights: WeightFile) -> bool:
    """Whether the server of the weights answers within `PROBE_TIMEOUT_S`."""
    if store.is_offline:
        return False
    try:
        content_length(store.url(weights), store.proxies, urllib3.Timeout(total=PROBE_TIMEOUT_S))
    except WeightsUnavailableError:
        return False
    return True
