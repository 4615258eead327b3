"""One task becomes one prediction: fetch, decode, find objects, make regions."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

import orjson

from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.exemplars.example_set import ExampleSet
from sam_backend.images.decode import decode_image
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.preannotation.calibration import Calibration
from sam_backend.preannotation.label_mapping import LabelMapping
from sam_backend.preannotation.object_sources import Embed, FoundObject, ObjectSource
from sam_backend.preannotation.outcome import BulkTask, Outcome, outcome_of
from sam_backend.preannotation.provenance import region_id, score_without_regions
from sam_backend.protocol.predictions import ResultJson, score_for_label_studio
from sam_backend.shapes.polygon import DEFAULT_STYLE, PolygonStyle
from sam_backend.shapes.regions import results_from_mask
from sam_model.types import Image

OnFound = Callable[[int, Image, FoundObject], None]  # page, its image, an object on it
MAX_PAGES_DECODED = 4  # a task with more pages is decoded page by page, when each is segmented


@dataclass(frozen=True, eq=False)
class Page:
    """One image of a task: decoded, or still the bytes of its file."""

    digest: str  # SHA-256 of the file's bytes, in hexadecimal
    content: Image | bytes


@dataclass(frozen=True, eq=False)
class FetchedTask:
    """A task with the images of its pages."""

    task: BulkTask
    pages: tuple[Page, ...]
    is_multi_page: bool


class Preannotator:
    """Makes predictions for tasks. Threads may share it."""

    def __init__(
        self,
        fetcher: Fetcher,
        object_source: ObjectSource,
        embeddings: ImageEmbeddings,
        mapping: LabelMapping,
        version: str,
        run_id: str,
        max_pixels: int,
        credentials: ImageCredentials | None = None,
        polygon_style: PolygonStyle = DEFAULT_STYLE,
        examples: ExampleSet | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        """Take the parts of a run.

        Args:
            fetcher: fetches the images.
            object_source: finds the objects.
            embeddings: of the segmenter that `object_source` uses.
            mapping: from the detector's classes to the labels of the labeling config.
            version: `model_version` of the predictions.
            run_id: identifies the run in its predictions.
            max_pixels: of one image.
            credentials: of the project, for images behind a password.
            polygon_style: of polygon and vector regions.
            examples: with which the objects are compared, if there are any.
            calibration: turns scores into probabilities; None keeps the models' scores.
        """
        self.examples = examples
        self.version, self.run_id = version, run_id
        self.mapping, self.report = mapping, mapping.report
        self.object_source = object_source
        self._fetcher, self._embeddings = fetcher, embeddings
        self._max_pixels, self.credentials = max_pixels, credentials or ImageCredentials()
        self._polygon_style, self._calibration = polygon_style, calibration

    def preannotate(self, task: BulkTask) -> Outcome:
        """Return the task's prediction, or its error: a task that fails does not stop the others."""
        fetched = self.fetch(task)
        return fetched if isinstance(fetched, Outcome) else self.annotate(fetched)

    def fetch(self, task: BulkTask) -> FetchedTask | Outcome:
        """Fetch the task's images, and decode them unless there are many."""
        return outcome_of(task, lambda: self._fetched(task))

    def annotate(self, fetched: FetchedTask, on_found: OnFound | None = None) -> Outcome:
        """Return the prediction for a fetched task; `on_found` is called with each object."""
        return outcome_of(fetched.task, lambda: self._prediction(fetched, on_found))

    def _fetched(self, task: BulkTask) -> FetchedTask:
        tag = self.mapping.config.image(self.mapping.to_name)
        pages = tuple(self._fetch(task, address) for address in tag.sources(task.data))
        if len(pages) <= MAX_PAGES_DECODED:
            pages = tuple(replace(page, content=self._image(page)) for page in pages)
        return FetchedTask(task, pages, tag.is_list)

    def _fetch(self, task: BulkTask, address: str) -> Page:
        project, given = self.mapping.configuration.project, self.credentials
        data = self._fetcher.fetch(address, task.id, project, given.login, given.password)
        return Page(hashlib.sha256(data).hexdigest(), data)

    def _image(self, page: Page) -> Image:
        return decode_image(page.content, self._max_pixels) if isinstance(page.content, bytes) else page.content

    def _objects(self, fetched: FetchedTask) -> Iterator[tuple[int, Image, FoundObject]]:
        """Yield the objects of all pages, as (page, image, object)."""
        name = f"task {fetched.task.id}"
        for number, page in enumerate(fetched.pages):
            image = self._image(page)

            @cache
            def compute(digest: str = page.digest, image: Image = image) -> Any:
                return self._embeddings.get(digest, lambda: image, name)

            embed = Embed(page.digest, compute)
            rectangles = [region for region in fetched.task.boxes if (region.item_index or 0) == number]
            for found in self.object_source.find(image, embed, rectangles):
                yield number, image, found

    def _prediction(self, fetched: FetchedTask, on_found: OnFound | None) -> Outcome:
        task_id = fetched.task.id
        region_ids = (region_id(self.run_id, task_id, number) for number in count())
        results: list[ResultJson] = []
        scores: list[float] = []
        labels: Counter[str] = Counter()
        for page, image, found in self._objects(fetched):
            if on_found is not None:
                on_found(page, image, found)
            item_index = page if fetched.is_multi_page else None
            label = "".join(found.target.labels[:1])
            score = found.score if self._calibration is None else self._calibration.probability(label, found.score)
            results += results_from_mask(found.mask, found.target, region_ids, score, item_index, self._polygon_style)
            scores.append(score)
            labels[label] += 1
        prediction: dict[str, Any] = {
            "task": task_id,
            "result": results,
            # of the least certain region, so that sorting by score gives the riskiest tasks first
            "score": score_for_label_studio(min(scores)) if results else score_without_regions(self.run_id),
            "model_version": self.version,
        }
        return Outcome(task_id, orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY), labels=dict(labels))
