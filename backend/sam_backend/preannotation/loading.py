"""A run's configuration -> its models, loaded and combined into a `Preannotator`."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam_backend.embeddings.disk import embedding_folder
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BadRequestError
from sam_backend.exemplars.engines import load_describer
from sam_backend.exemplars.example_set import ExampleSet
from sam_backend.exemplars.image_regions import RegionSource, regions_key
from sam_backend.exemplars.index import index_of
from sam_backend.exemplars.reading import ProjectImages
from sam_backend.exemplars.similar_objects import SEARCH_VERSION, SimilarObjects
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.preannotation.calibration import Calibration, CalibrationError, models_of
from sam_backend.preannotation.configuration import AUTO, EXEMPLARS, SEGMENTER, WITHOUT_DETECTOR, RunConfiguration
from sam_backend.preannotation.label_mapping import ANY_OBJECT, MAX_LISTED_NAMES, LabelMapping
from sam_backend.preannotation.object_sources import (
    DetectorObjects,
    EverythingObjects,
    ExemplarObjects,
    ObjectSource,
    TaskBoxObjects,
)
from sam_backend.preannotation.own_detectors import detector_choices, detector_path
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.provenance import model_version
from sam_backend.preannotation.text_detectors import NO_TEXT_DETECTOR, text_detector_name
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.segmenter.choice import ModelChoice, choose_model
from sam_backend.settings import MIB, Settings, SettingsError
from sam_backend.shapes.polygon import DEFAULT_STYLE, polygon_style
from sam_model.detectors.fixed_text import FixedTextDetector
from sam_model.images.budget import DECODING_MEMORY
from sam_model.interfaces import Detector, Segmenter, TextDetector
from sam_model.registry import DETECTOR_NAMES, TEXT_DETECTOR_NAMES, load_detector, load_text_detector
from sam_model.weights.catalog import find_weights
from sam_model.weights.folders import find_folder
from sam_model.weights.store import WeightStore, sha256_of

ReadExamples = Callable[[ProjectImages, RegionSource, str], ExampleSet]

VERSION = 1  # to be raised when predictions of the same models and settings change


def segmenter_choice(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> ModelChoice:
    """Return the segmenter of a run's configuration; `auto` is the service's.

    Raises:
        BadRequestError: the model is neither a name nor a file.
    """
    name = settings.model if configuration.model == "auto" else configuration.model
    try:
        return choose_model(replace(settings, model=name), store)
    except SettingsError as error:
        raise BadRequestError(str(error).replace("SAM_MODEL=", "model=")) from None


def preannotation_version(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> str:
    """Return the model_version of a run's predictions, without loading a model.

    It is the same for the same models and settings.

    Raises:
        BadRequestError: the model or the detector is neither a name nor a file.
    """
    choice = segmenter_choice(configuration, settings, store)
    return version_with(configuration, choice.name, choice.version, settings, store)


def version_with(
    configuration: RunConfiguration,
    model: str,
    model_fingerprint: str,
    settings: Settings,
    store: WeightStore,
    examples: str = "",
) -> str:
    """Return what `preannotation_version` returns, for a segmenter that is chosen already.

    `examples` is the digest of the examples: other examples give another version.

    Raises:
        BadRequestError: the detector is neither a name nor a file.
    """
    detector, fingerprint = detector_identity(detector_of(configuration, settings, store), settings, store)
    options = configuration.to_json()
    identity = {
        name: options[name] for name in ("score_threshold", "label_thresholds", "label_map", "iou_threshold", "shape")
    }
    identity["at_most"] = options["max_detections"]  # its former name, which keeps the versions of stored predictions
    if configuration.calibration is not None:
        identity["calibration"] = configuration.calibration
    if configuration.text:
        identity["text"] = configuration.text
    if configuration.detector == EXEMPLARS:
        identity["examples"] = [SEARCH_VERSION, configuration.descriptor, examples]
    if configuration.points_per_side is not None:
        identity["points_per_side"] = configuration.points_per_side
    style = polygon_style(settings)
    if style != DEFAULT_STYLE:  # with the default, stored predictions keep their versions
        identity["polygons"] = [style.tolerance, style.parts]
    text = json.dumps([VERSION, fingerprint, model_fingerprint, identity], sort_keys=True)
    return model_version(detector, model, hashlib.sha256(text.encode()).hexdigest())


def detector_identity(name_or_path: str, settings: Settings, store: WeightStore) -> tuple[str, str]:
    """Return a detector's name, and a text that identifies its weights.

    Raises:
        BadRequestError: the detector is neither a name nor a file.
    """
    if name_or_path in (*WITHOUT_DETECTOR, "classical"):
        return name_or_path, name_or_path
    folder = find_folder(name_or_path) if name_or_path in TEXT_DETECTOR_NAMES else None
    if folder is not None:
        return folder.model, store.pinned_sha256(folder.file("model.safetensors")) or "unpinned"
    path = Path(detector_path(name_or_path, settings, store)).expanduser()
    if path.is_dir():  # a text detector
        return path.name, _folder_digest(path)
    if (path.suffix or path.name != name_or_path) and path.is_file():
        return path.stem, sha256_of(path)
    try:
        weights = find_weights(name_or_path)
    except ValueError:
        weights = None
    if weights is None or weights.model not in DETECTOR_NAMES:
        known = ", ".join(detector_choices(settings, store))
        raise BadRequestError(f"detector={name_or_path!r} is neither a detector nor a file; known: {known}")
    return weights.model, weights.sha256 or store.pinned_sha256(weights) or "unpinned"


def _folder_digest(folder: Path) -> str:
    files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors", ".txt"))
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()


def detector_of(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> str:
    """Return the name or path of a run's detector; for words, `auto` is the service's text detector.

    Raises:
        BadRequestError: no detector finds what words describe.
    """
    if configuration.detector != AUTO:
        return configuration.detector
    name = text_detector_name(None, settings, store)
    if name is None:
        raise BadRequestError(f"text: {NO_TEXT_DETECTOR}")
    return name


def load_preannotator(
    configuration: RunConfiguration,
    labeling_config: str,
    run_id: str,
    settings: Settings,
    store: WeightStore,
    fetcher: Fetcher,
    *,
    segmenter: Segmenter[Any] | None = None,
    embeddings: ImageEmbeddings | None = None,
    credentials: ImageCredentials | None = None,
    examples: ExampleSet | ReadExamples | None = None,
    calibration: Calibration | None = None,
) -> Preannotator:
    """Load the models of a run and return its `Preannotator`.

    Args:
        configuration: of the run.
        labeling_config: XML, of the project.
        run_id: identifies the run in its predictions.
        settings: of the service.
        store: the weights.
        fetcher: fetches the images.
        segmenter: the segmenter that the service uses for clicks, if the run uses the same one.
        embeddings: of `segmenter`; by default those of SAM_EMBEDDINGS_DIR.
        credentials: of the project, for images behind a password.
        examples: with which objects are compared, or how to read them; only for the detector `exemplars`.
        calibration: the one that `configuration.calibration` names.

    Raises:
        CalibrationError: the calibration is missing, or of other models.
        BadRequestError: the model or the detector is unknown, the labeling config has no tag for the regions, or there
            is no example.
        WeightsError: weights are missing and cannot be downloaded, or are damaged.
    """
    DECODING_MEMORY.limit = settings.decode_memory_mib * MIB
    config = LabelingConfig.from_xml(labeling_config)
    choice = segmenter_choice(configuration, settings, store)
    detector = load_detector_of(configuration, settings, store)
    mapping = mapping_of(configuration, config, detector)
    if segmenter is None:
        segmenter = choice.load(lambda progress: None)
    embeddings = embeddings or ImageEmbeddings(segmenter, folder=embedding_folder(settings))
    max_pixels = settings.max_image_megapixels * 1_000_000
    found: ExampleSet | None = None
    if configuration.detector == EXEMPLARS:
        images = ProjectImages(
            configuration.project,
            config,
            mapping.to_name,
            fetcher,
            embeddings,
            max_pixels,
            credentials or ImageCredentials(),
        )
        source, found = _similar_objects(images, segmenter, mapping, examples, settings, store)
    else:
        source = _object_source(detector, segmenter, mapping)
    digest = "" if found is None else found.digest
    version = version_with(configuration, choice.name, choice.version, settings, store, digest)
    _check_calibration(configuration, calibration, version)
    return Preannotator(
        fetcher,
        source,
        embeddings,
        mapping,
        version,
        run_id,
        max_pixels,
        credentials,
        polygon_style(settings),
        found,
        calibration,
    )


def _similar_objects(
    images: ProjectImages,
    segmenter: Segmenter[Any],
    mapping: LabelMapping,
    examples: "ExampleSet | ReadExamples | None",
    settings: Settings,
    store: WeightStore,
) -> tuple[ObjectSource, ExampleSet]:
    """Return the source of objects like the examples, and the examples, which are read first if they are not given."""
    if examples is None:
        raise BadRequestError("the detector 'exemplars' needs annotations of Label Studio: start a run with it")
    regions, key = region_source(mapping.configuration, segmenter, settings, store)
    found = examples if isinstance(examples, ExampleSet) else examples(images, regions, key)
    return ExemplarObjects(SimilarObjects(found, regions, segmenter), mapping), found


def region_source(
    configuration: RunConfiguration, segmenter: Segmenter[Any], settings: Settings, store: WeightStore
) -> tuple[RegionSource, str]:
    """Return what proposes and describes the regions of a run's images, and its key, see `regions_key`.

    Raises:
        BadRequestError: the descriptor is not installed, or the detector of the proposals is unknown.
        WeightsError: weights are missing or damaged.
    """
    describer = load_describer(configuration.descriptor, segmenter, settings, store)
    detector, identity = None, ""
    if configuration.proposals != SEGMENTER:
        detector = load_detector_of(replace(configuration, detector=configuration.proposals), settings, store)
        identity = detector_identity(configuration.proposals, settings, store)[1]
    key = regions_key(segmenter, describer, identity)
    index = index_of(settings, settings.label_studio_url or "", configuration.project, key)
    return RegionSource(segmenter, describer, index, detector), key


def _check_calibration(configuration: RunConfiguration, calibration: Calibration | None, version: str) -> None:
    if configuration.calibration is None:
        return
    if calibration is None:
        raise CalibrationError(f"the calibration of run {configuration.calibration} was not loaded")
    if calibration.models != models_of(version):
        raise CalibrationError(
            f"the calibration of run {calibration.run_id} belongs to {calibration.models}, this run uses "
            f"{models_of(version)}: choose these models, or a run of the same ones"
        )


def mapping_of(configuration: RunConfiguration, config: LabelingConfig, detector: Detector | None) -> LabelMapping:
    """Return the targets of a run's objects in a labeling config.

    Raises:
        BadRequestError: the label map does not fit, or the labeling config has no tag for the regions.
    """
    if detector is not None:
        return LabelMapping.of(config, detector.class_names, configuration)
    return LabelMapping.of(config, (ANY_OBJECT,) if configuration.detector == "everything" else (), configuration)


def load_detector_of(configuration: RunConfiguration, settings: Settings, store: WeightStore) -> Detector | None:
    """Load the run's detector; return None if the run has none.

    Raises:
        BadRequestError: the detector is neither a name nor a file.
        WeightsError: as `load_preannotator`.
    """
    if configuration.detector in WITHOUT_DETECTOR:
        return None
    name = detector_of(configuration, settings, store)
    detector_identity(name, settings, store)  # its error lists the known detectors
    path = detector_path(name, settings, store)
    if name in TEXT_DETECTOR_NAMES and not configuration.text:
        raise BadRequestError(f"detector={name!r} needs text, such as 'cat, red car=Vehicle'")
    if configuration.text:
        return _detector_of_texts(load_text_detector_of(name, settings, store), configuration)
    if Path(path).is_dir():
        raise BadRequestError(f"detector={configuration.detector!r} finds what words describe: text is needed too")
    return load_detector(path, settings.device, dtype=settings.dtype, runtime=settings.runtime, store=store)


def load_text_detector_of(name: str, settings: Settings, store: WeightStore) -> TextDetector:
    """Load the text detector that `text_detector_name` returned.

    Raises:
        BadRequestError: it is neither a known detector nor a file or folder.
        WeightsError: its weights are missing and cannot be downloaded, or are damaged.
    """
    try:
        return load_text_detector(detector_path(name, settings, store), settings.device, store=store)
    except ValueError as error:
        raise BadRequestError(f"could not load the text detector {name!r}: {error}") from None


def _detector_of_texts(detector: TextDetector, configuration: RunConfiguration) -> Detector:
    texts = [words.text for words in configuration.words]
    classes: Sequence[str] | None = getattr(getattr(detector, "detector", None), "class_names", None)
    if classes is not None:  # an ordinary detector, which knows the names of its classes only
        known = {name.casefold() for name in classes}
        unknown = next((text for text in texts if text.casefold() not in known), None)
        if unknown is not None:
            raise BadRequestError(
                f"text: {unknown!r} is not a class of {detector.name}; choose a text detector, or one of its classes: "
                f"{', '.join(classes[:MAX_LISTED_NAMES])}"
            )
    return FixedTextDetector(detector, texts)


def _object_source(detector: Detector | None, segmenter: Segmenter[Any], mapping: LabelMapping) -> ObjectSource:
    if detector is not None:
        return DetectorObjects(detector, segmenter, mapping)
    if mapping.configuration.detector == "everything":
        return EverythingObjects(segmenter, mapping)
    return TaskBoxObjects(segmenter, mapping.for_labels)
