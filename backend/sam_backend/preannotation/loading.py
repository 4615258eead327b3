"""A run's configuration -> the models that it names, put together into a `Preannotator`."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam_backend.errors import BadRequestError
from sam_backend.interactive.task_predictor import Fetcher, ImageCredentials
from sam_backend.preannotation.configuration import WITHOUT_DETECTOR, RunConfiguration
from sam_backend.preannotation.label_mapping import THING, LabelMapping
from sam_backend.preannotation.object_sources import DetectorObjects, EverythingObjects, ObjectSource, TaskBoxObjects
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.provenance import model_version
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.segmenter.choice import ModelChoice, choose_model
from sam_backend.settings import MIB, Settings, SettingsError
from sam_model.images.budget import DECODING_MEMORY
from sam_model.interfaces import Detector, Segmenter
from sam_model.registry import DETECTOR_NAMES, load_detector
from sam_model.weights.catalog import find_weights
from sam_model.weights.store import WeightStore, sha256_of

VERSION = 1  # of what a run makes of the same models and settings


def segmenter_choice(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> ModelChoice:
    """The segmenter that a run names; `auto` is the service's own.

    Raises:
        BadRequestError: no such model or file.
    """
    name = settings.model if configuration.model == "auto" else configuration.model
    try:
        return choose_model(replace(settings, model=name), store)
    except SettingsError as error:
        raise BadRequestError(str(error).replace("SAM_MODEL=", "model=")) from None


def preannotation_version(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> str:
    """The model_version of a run's predictions; equal for equal models and settings, had without loading a model.

    Raises:
        BadRequestError: no such model, detector or file.
    """
    choice = segmenter_choice(configuration, settings, store)
    return version_with(configuration, choice.name, choice.version, store)


def version_with(configuration: RunConfiguration, model: str, model_fingerprint: str, store: WeightStore) -> str:
    """As `preannotation_version`, with a segmenter that was chosen already.

    Raises:
        BadRequestError: no such detector or file.
    """
    detector, fingerprint = detector_identity(configuration.detector, store)
    asked = configuration.to_json()
    meaning = {
        name: asked[name] for name in ("score_threshold", "label_thresholds", "label_map", "iou_threshold", "shape")
    }
    meaning["at_most"] = asked["max_detections"]  # its first name: another would give every model another version
    words = json.dumps([VERSION, fingerprint, model_fingerprint, meaning], sort_keys=True)
    return model_version(detector, model, hashlib.sha256(words.encode()).hexdigest())


def detector_identity(name_or_path: str, store: WeightStore) -> tuple[str, str]:
    """A detector's name, and what tells its weights from others.

    Raises:
        BadRequestError: no such detector or file.
    """
    if name_or_path in (*WITHOUT_DETECTOR, "classical"):
        return name_or_path, name_or_path
    path = Path(name_or_path).expanduser()
    if (path.suffix or path.name != name_or_path) and path.is_file():
        return path.stem, sha256_of(path)
    try:
        weights = find_weights(name_or_path)
    except ValueError:
        weights = None
    if weights is None or weights.model not in DETECTOR_NAMES:
        known = ", ".join((*WITHOUT_DETECTOR, *DETECTOR_NAMES))
        raise BadRequestError(f"detector={name_or_path!r} is neither a detector nor a file; known: {known}")
    return weights.model, weights.sha256 or store.pinned_sha256(weights) or "unpinned"


def load_preannotator(
    configuration: RunConfiguration,
    labeling_config: str,
    run_id: str,
    settings: Settings,
    store: WeightStore,
    fetcher: Fetcher,
    *,
    segmenter: Segmenter[Any] | None = None,
    credentials: ImageCredentials | None = None,
) -> Preannotator:
    """Load the models that a run names and put its stages together.

    Args:
        configuration: what the run is asked to do.
        labeling_config: the project's, XML.
        run_id: what marks the predictions.
        settings: of the service.
        store: where weights lie.
        fetcher: gets the pictures.
        segmenter: one that is loaded already, for a service that answers clicks with it.
        credentials: what the project's settings hold for images behind a password.

    Raises:
        BadRequestError: no such model or detector, or a labeling config without a place for the regions.
        WeightsError: weights are not here and cannot be fetched, or are not what they should be.
    """
    DECODING_MEMORY.limit = settings.decode_memory_mib * MIB
    config = LabelingConfig.from_xml(labeling_config)
    choice = segmenter_choice(configuration, settings, store)
    detector = load_detector_of(configuration, settings, store)
    mapping = mapping_of(configuration, config, detector)
    if segmenter is None:
        segmenter = choice.load(lambda progress: None)
    version = version_with(configuration, choice.name, choice.version, store)
    return Preannotator(
        fetcher,
        _finder(detector, segmenter, mapping),
        mapping,
        version,
        run_id,
        settings.max_image_megapixels * 1_000_000,
        credentials,
    )


def mapping_of(configuration: RunConfiguration, config: LabelingConfig, detector: Detector | None) -> LabelMapping:
    """Where the run's objects go in a labeling config.

    Raises:
        BadRequestError: a map that does not fit, or a config without a place for the regions.
    """
    if detector is not None:
        return LabelMapping.of(config, detector.class_names, configuration)
    return LabelMapping.of(config, (THING,) if configuration.detector == "everything" else (), configuration)


def load_detector_of(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> Detector | None:
    """The run's detector; None where it goes without.

    Raises:
        BadRequestError: no such detector or file.
        WeightsError: as `load_preannotator`.
    """
    if configuration.detector in WITHOUT_DETECTOR:
        return None
    detector_identity(configuration.detector, store)  # says what is known where it is not
    return load_detector(configuration.detector, settings.device, store=store)


def _finder(detector: Detector | None, segmenter: Segmenter[Any], mapping: LabelMapping) -> ObjectSource:
    if detector is not None:
        return DetectorObjects(detector, segmenter, mapping)
    if mapping.configuration.detector == "everything":
        return EverythingObjects(segmenter, mapping)
    return TaskBoxObjects(segmenter, mapping.for_labels)
