"""Settings -> which model answers, what it is called before it is loaded, and how it is loaded."""

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

AUTOMATIC = "mobile_sam"  # small enough to be fetched unasked, fast enough for a CPU
PROBE_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class ModelChoice:
    """A model that can be loaded; `version` names model, weights and settings, and is what predictions carry."""

    name: str
    version: str
    load: Callable[[OnProgress], Segmenter[Any]]
    instead: "ModelChoice | None" = None  # taken where the weights cannot be had after all


def choose_model(settings: Settings, store: WeightStore) -> ModelChoice:
    """The model that the settings ask for; `auto` is MobileSAM where it is here or can be fetched, else classical.

    Raises:
        SettingsError: `SAM_MODEL` is neither a model nor a file.
    """
    cleaning = MaskCleaning(
        min_hole_area=settings.min_hole_area,
        min_region_area=settings.min_region_area,
        keep_clicked_region=settings.keep_clicked_region,
    )
    if settings.model == "classical":
        return _classical()
    if settings.model == "auto":
        weights = find_weights(AUTOMATIC)
        if store.status(weights).presence is Presence.PRESENT or _can_be_fetched(store, weights):
            return replace(_sam(AUTOMATIC, weights.sha256, settings, cleaning, store), instead=_classical())
        logger.warning(
            "no weights of %s here, and its server cannot be reached. %s", AUTOMATIC, store.how_to_get(weights)
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
        raise SettingsError(f"SAM_MODEL={settings.model!r} is a detector: it finds boxes; models that answer: {known}")
    return _sam(weights.model, _hash_of(weights, store), settings, cleaning, store)


def _hash_of(weights: WeightFile, store: WeightStore) -> str:
    """The recorded hash; where there is none, the one that was written down when the file first came."""
    return weights.sha256 or store.pinned_sha256(weights) or "unpinned"


def _classical() -> ModelChoice:
    from sam_model.classical.segmenter import ClassicalSegmenter

    segmenter = ClassicalSegmenter()
    return ModelChoice("classical", segmenter.fingerprint, lambda _: LimitedSegmenter(segmenter))


def _sam(name: str, sha256: str, settings: Settings, cleaning: MaskCleaning, store: WeightStore) -> ModelChoice:
    import sam_model.sam.segmenter  # noqa: F401  # now, not while requests wait: importing PyTorch stops every thread

    parts = [re.sub(r"[^A-Za-z0-9_.]+", "_", name), sha256[:8], settings.dtype, str(cleaning)]
    asked_for = AUTOMATIC if settings.model == "auto" else settings.model
    return ModelChoice(
        name,
        "-".join(part for part in parts if part),
        lambda on_progress: LimitedSegmenter(
            load_segmenter(
                asked_for, settings.device, settings.dtype, cleaning=cleaning, store=store, on_progress=on_progress
            )
        ),
    )


def _can_be_fetched(store: WeightStore, weights: WeightFile) -> bool:
    """Whether the server with the weights answers within a few seconds."""
    if store.is_offline:
        return False
    try:
        content_length(store.url(weights), store.proxies, urllib3.Timeout(total=PROBE_TIMEOUT_S))
    except WeightsUnavailableError:
        return False
    return True
