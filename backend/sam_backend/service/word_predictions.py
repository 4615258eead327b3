"""Predictions for words that a user typed into a `<TextArea>` in the editor, such as "cat, red car=Vehicle"."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sam_backend import metrics
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BadRequestError, ModelNotReadyError
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.interactive.click_log import note_reason
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.label_mapping import LabelMapping
from sam_backend.preannotation.loading import load_text_detector_of
from sam_backend.preannotation.object_sources import DetectorObjects
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.text_detectors import NO_TEXT_DETECTOR, text_detector_name
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.predictions import Prediction
from sam_backend.protocol.requests import Task
from sam_backend.protocol.words import Words, label_of_words, parse_words
from sam_backend.request_pool import slot_released
from sam_backend.segmenter.request_model import RequestModel
from sam_backend.service.loaded_cache import LoadedCache
from sam_backend.service.project_registry import ProjectRegistry
from sam_backend.service.tolerant_text_detector import TolerantTextDetector
from sam_backend.settings import Settings
from sam_backend.shapes.polygon import polygon_style
from sam_backend.shapes.targets import label_tags, possible_targets
from sam_model.detectors.fixed_text import FixedTextDetector
from sam_model.interfaces import Segmenter, TextDetector
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

MAX_LOADED = 2  # text detectors


@dataclass(frozen=True)
class WordAnswer:
    """The item of `results` for a task, and the number of objects in it."""

    item: Any
    objects: int


class WordPredictions:
    """Find the objects that words describe, and segment them; threads may share it.

    Regions have the shape, the thresholds and the limits of the project's pre-annotation.
    """

    def __init__(
        self,
        settings: Settings,
        projects: ProjectRegistry,
        store: WeightStore,
        fetcher: Fetcher,
        embeddings: Callable[[Segmenter[Any]], ImageEmbeddings],
    ) -> None:
        """Take the parts of the service; `embeddings` are those of the clicks."""
        self._settings, self._projects = settings, projects
        self._store, self._fetcher, self._embeddings = store, fetcher, embeddings
        self._detectors: LoadedCache[TextDetector] = LoadedCache(MAX_LOADED)

    def predict(
        self,
        task: Task,
        texts: Sequence[str],
        config: LabelingConfig,
        credentials: ImageCredentials,
        model: RequestModel,
    ) -> WordAnswer:
        """Return the regions of all objects that words name in a task's images.

        Words that cannot be used are left out; the list of clicks has the reason. Without a text detector, the answer
        has no regions.

        Raises:
            BackendError: the words, the labeling config or the project's extra parameters cannot be used.
        """
        project, created_s = task.project_id, task.project_created_s
        configuration = self._projects.text_configuration(project, created_s)
        chosen = self._projects.chosen_detector(project, created_s)
        name = text_detector_name(chosen, self._settings, self._store)
        if name is None:
            note_reason(NO_TEXT_DETECTOR)
            return _empty(model)
        words = parse_words("\n".join(texts))
        labels = _labels_of(words, config, configuration)
        if not labels:
            return _empty(model)
        detector = FixedTextDetector(
            TolerantTextDetector(self._text_detector(name), _classes_of(words, labels, config)), tuple(labels)
        )
        configuration = replace(
            configuration, text="", label_map={each: label for each, label in labels.items() if label}
        )
        mapping = LabelMapping.of(config, detector.class_names, configuration)
        segmenter = model.segmenter()
        preannotator = Preannotator(
            self._fetcher,
            DetectorObjects(detector, segmenter, mapping),
            self._embeddings(segmenter),
            mapping,
            model.version,
            _run_id(labels),
            self._settings.max_image_megapixels * 1_000_000,
            credentials,
            polygon_style(self._settings),
        )
        bulk_task = BulkTask(task.id or 0, task.data)
        with slot_released(), metrics.stage("fetch"):
            fetched = preannotator.fetch(bulk_task)
        outcome = fetched if isinstance(fetched, Outcome) else preannotator.annotate(fetched)
        if outcome.prediction is None:
            note_reason(f"{task.name}: {outcome.error}")
            return _empty(model)
        objects = sum(outcome.labels.values())
        if not objects:
            note_reason(f"{name} found nothing for {', '.join(labels)}")
        logger.info("predict %s: words for %d labels, %d masks", task.name, len(set(labels.values())), objects)
        return WordAnswer(orjson.Fragment(outcome.prediction) if objects else _empty(model).item, objects)

    def _text_detector(self, name: str) -> TextDetector:
        loading = self._detectors.get(name, lambda: load_text_detector_of(name, self._settings, self._store))
        try:
            with slot_released():
                return loading.result(timeout=self._settings.model_wait_s)
        except FutureTimeoutError:
            raise ModelNotReadyError(
                f"the text detector is still loading after {self._settings.model_wait_s:g} s; try again"
            ) from None
        except WeightsError as error:
            raise ModelNotReadyError(f"could not load the text detector: {error}") from None


def _empty(model: RequestModel) -> WordAnswer:
    return WordAnswer(Prediction(model.version).to_json(), 0)


def _labels_of(words: Sequence[Words], config: LabelingConfig, configuration: RunConfiguration) -> dict[str, str]:
    """Return the label of each description that has one; "" if the config needs none."""
    image = config.image().name
    tags = label_tags(possible_targets(config, image))
    mapped = {name.casefold(): label for name, label in configuration.label_map.items()}
    found: dict[str, str] = {}
    for each in words:
        given = each if each.label is not None else replace(each, label=mapped.get(each.text.casefold()))
        try:
            found[each.text] = label_of_words(given, tags)
        except BadRequestError as error:
            note_reason(str(error))
    return found


def _classes_of(words: Sequence[Words], labels: dict[str, str], config: LabelingConfig) -> dict[str, list[str]]:
    """Return the `predicted_values` of labels, for words that are the label's own."""
    pairs = [pair for tag in config.controls for pair in tag.predicted_values]
    own = [each.text for each in words if each.label is None]
    return {text: [name for name, label in pairs if label == labels.get(text)] for text in own}


def _run_id(labels: dict[str, str]) -> str:
    """Return the part of the regions' ids that is the same for the same words: Label Studio may ask twice."""
    return f"words-{hashlib.sha256(orjson.dumps(list(labels.items()))).hexdigest()[:10]}"
