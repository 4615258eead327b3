"""The choice of a segmenter by its name: its version, and how to load it."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sam_backend.segmenter.automatic_choice import AutomaticChoice, automatic_choice
from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.settings import Settings, SettingsError
from sam_model.interfaces import Segmenter
from sam_model.masks.cleaning import MaskCleaning
from sam_model.registry import MODEL_NAMES, load_segmenter
from sam_model.runtime.probe import find_runtime
from sam_model.weights.catalog import WeightFile, find_weights
from sam_model.weights.download import OnProgress
from sam_model.weights.folder_store import folder_path
from sam_model.weights.folders import FOLDERS, find_folder
from sam_model.weights.store import WeightStore, sha256_of

logger = logging.getLogger(__name__)

SEGMENTER_NAMES = (*MODEL_NAMES, *(folder.model for folder in FOLDERS if folder.segments))


@dataclass(frozen=True)
class ModelChoice:
    """A segmenter that can be loaded; `version` identifies model, weights and settings in predictions."""

    name: str
    version: str
    load: Callable[[OnProgress], Segmenter[Any]]
    fallback: "ModelChoice | None" = None  # used if the weights cannot be downloaded or read
    weights_bytes: Callable[[], int] = lambda: 0  # size of the weights' files; 0 if it is not known
    reason: str = ""  # why SAM_MODEL=auto means this model; empty for a model that was named


def choose_model(settings: Settings, store: WeightStore) -> ModelChoice:
    """Return the segmenter of the settings; `automatic_choice` tells what `auto` means.

    Raises:
        SettingsError: `SAM_MODEL` is neither a model nor a file or folder, or the runtime cannot be used.
    """
    if settings.model == "classical":
        return _classical()
    if settings.model == "auto":
        return _automatic(automatic_choice(settings, store), settings, store)
    folder = find_folder(settings.model)
    if folder is not None and folder.segments:
        return _of_folder(folder.model, folder_path(store, folder), settings, store)
    path = Path(settings.model).expanduser()
    if path.is_file():
        choice = _sam(path.stem, sha256_of(path), settings, store)
        return replace(choice, weights_bytes=lambda: path.stat().st_size)
    if path.is_dir() and settings.model not in MODEL_NAMES:
        return _of_folder(path.name, path, settings, store)
    try:
        weights = find_weights(settings.model)
    except ValueError as error:
        raise SettingsError(f"SAM_MODEL={settings.model!r} is neither a file nor a model: {error}") from None
    if weights.role != "segmenter":
        known = ", ".join(SEGMENTER_NAMES)
        raise SettingsError(f"SAM_MODEL={settings.model!r} is a detector, not a segmenter; segmenters: {known}")
    return replace(
        _sam(weights.model, _hash_of(weights, store), settings, store),
        weights_bytes=lambda: weights.size or store.status(weights).bytes_here,
    )


def _of_folder(name: str, path: Path, settings: Settings, store: WeightStore) -> ModelChoice:
    """Return a model of transformers, which PyTorch runs; its version has the hash of its files, which may have to be
    downloaded.
    """
    if settings.runtime == "openvino":
        raise SettingsError(f"SAM_RUNTIME='openvino' cannot run {name}, a model of transformers; set auto or torch")
    files = sorted([*path.glob("*.json"), *path.glob("*.safetensors")])
    digest = hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest() if files else "unpinned"
    choice = _sam(name, digest, replace(settings, runtime="torch"), store)
    return replace(choice, weights_bytes=lambda: sum(file.stat().st_size for file in path.glob("*.safetensors")))


def _automatic(chosen: AutomaticChoice, settings: Settings, store: WeightStore) -> ModelChoice:
    if chosen.weights is None:
        logger.warning(
            "SAM_MODEL=auto: %s; falling back to the classical segmenter. %s", chosen.reason, chosen.next_step
        )
        return replace(_classical(), reason=chosen.reason)
    named = choose_model(replace(settings, model=chosen.weights.model), store)
    logger.info("SAM_MODEL=auto is %s: %s", named.name, chosen.reason)
    return replace(named, fallback=_classical(), reason=chosen.reason)


def _hash_of(weights: WeightFile, store: WeightStore) -> str:
    """Return the recorded hash; without one, the hash of the first download."""
    return weights.sha256 or store.pinned_sha256(weights) or "unpinned"


def _classical() -> ModelChoice:
    from sam_model.classical.segmenter import ClassicalSegmenter

    segmenter = ClassicalSegmenter()
    return ModelChoice("classical", segmenter.fingerprint, lambda _: LimitedSegmenter(segmenter))


def _sam(name: str, sha256: str, settings: Settings, store: WeightStore) -> ModelChoice:
    cleaning = MaskCleaning(
        min_hole_area=settings.min_hole_area,
        min_region_area=settings.min_region_area,
        keep_clicked_region=settings.keep_clicked_region,
    )
    try:
        runtime = find_runtime(settings.runtime, settings.device, settings.dtype).runtime
    except ValueError as error:
        raise SettingsError(f"SAM_RUNTIME, SAM_DEVICE, SAM_DTYPE: {error}") from None
    logger.info("runtime of %s: %s in %s on %s", name, runtime.name, runtime.dtype, runtime.device)
    parts = [re.sub(r"[^A-Za-z0-9_.]+", "_", name), sha256[:8], str(runtime), str(cleaning)]
    return ModelChoice(
        name,
        "-".join(part for part in parts if part),
        lambda on_progress: LimitedSegmenter(
            load_segmenter(
                settings.model,
                runtime.device,
                runtime.dtype,
                runtime=runtime.name,
                cleaning=cleaning,
                store=store,
                on_progress=on_progress,
                reduces_images=True,
            )
        ),
    )
