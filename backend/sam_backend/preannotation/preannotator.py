"""What becomes of one task: fetch -> decode -> find objects -> shape -> a prediction. No state, so threads share it."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from sam_backend.errors import BackendError
from sam_backend.images.decode import decode_image
from sam_backend.interactive.task_predictor import Fetcher, ImageCredentials
from sam_backend.preannotation.label_mapping import LabelMapping
from sam_backend.preannotation.object_sources import FoundObject, ObjectSource
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.provenance import region_id, score_without_regions
from sam_backend.protocol.predictions import ResultJson, score_for_label_studio
from sam_backend.shapes.regions import region_results, region_values
from sam_model.types import Image

logger = logging.getLogger(__name__)
OnFound = Callable[[int, Image, FoundObject], None]  # page, its image, an object on it
MAX_PAGES_AHEAD = 4  # pages that are decoded before they are looked at


@dataclass(frozen=True, eq=False)
class FetchedTask:
    """A task with its pages: decoded, or where there are many the bytes of the files."""

    task: BulkTask
    pages: tuple[Image | bytes, ...]
    is_multi_page: bool


class Preannotator:
    """Makes predictions of tasks."""

    def __init__(
        self,
        fetcher: Fetcher,
        finder: ObjectSource,
        mapping: LabelMapping,
        version: str,
        run_id: str,
        max_pixels: int,
        credentials: ImageCredentials | None = None,
    ) -> None:
        """Put the parts together; `version` is the predictions' model_version, `run_id` what marks them."""
        self.version, self.run_id = version, run_id
        self.mapping, self.report = mapping, mapping.report
        self._fetcher, self._finder = fetcher, finder
        self._max_pixels, self.credentials = max_pixels, credentials or ImageCredentials()

    def preannotate(self, task: BulkTask) -> Outcome:
        """The task's prediction, or what is wrong with it: a task that fails stops no other."""
        fetched = self.fetch(task)
        return fetched if isinstance(fetched, Outcome) else self.annotate(fetched)

    def fetch(self, task: BulkTask) -> FetchedTask | Outcome:
        """The task's pictures, from wherever they are; waits for the network and does nothing else of weight."""
        try:
            tag = self.mapping.config.image(self.mapping.to_name)
            files = tuple(self._fetch(task, address) for address in tag.sources(task.data))
            pages = tuple(self._decoded(file) for file in files) if len(files) <= MAX_PAGES_AHEAD else files
            return FetchedTask(task, pages, tag.is_list)
        except BackendError as error:
            return Outcome(task.id, error=str(error))
        except Exception:  # noqa: BLE001  # the edge of a worker: one task's trouble must not end the run
            return _unexpected(task)

    def annotate(self, fetched: FetchedTask, on_found: OnFound | None = None) -> Outcome:
        """The prediction for a task whose pictures are here; `on_found` sees each object as it is found."""
        try:
            return self._prediction(fetched, on_found)
        except BackendError as error:
            return Outcome(fetched.task.id, error=str(error))
        except Exception:  # noqa: BLE001  # as above
            return _unexpected(fetched.task)

    def _found(self, fetched: FetchedTask) -> Iterator[tuple[int, Image, FoundObject]]:
        """The objects of all pages, as (page, image, object)."""
        for page, picture in enumerate(fetched.pages):
            image = self._decoded(picture)
            boxes = [box for box in fetched.task.boxes if (box.item_index or 0) == page]
            for one in self._finder.find(image, boxes):
                yield page, image, one

    def _fetch(self, task: BulkTask, address: str) -> bytes:
        given = self.credentials
        return self._fetcher.fetch(address, task.id, self.mapping.configuration.project, given.login, given.password)

    def _decoded(self, picture: Image | bytes) -> Image:
        return decode_image(picture, self._max_pixels) if isinstance(picture, bytes) else picture

    def _prediction(self, fetched: FetchedTask, on_found: OnFound | None) -> Outcome:
        task_id = fetched.task.id
        results: list[ResultJson] = []
        scores: list[float] = []
        labels: Counter[str] = Counter()
        number = 0
        for page, image, one in self._found(fetched):
            if on_found is not None:
                on_found(page, image, one)
            size = (image.shape[0], image.shape[1])
            for value in region_values(one.mask, one.target.shape):
                results += region_results(
                    value,
                    size,
                    one.target.tags,
                    one.target.to_name,
                    one.target.labels,
                    region_id(self.run_id, task_id, number),
                    one.score,
                    page if fetched.is_multi_page else None,
                )
                number += 1
            scores.append(one.score)
            labels[one.target.labels[0] if one.target.labels else ""] += 1
        mean = sum(scores) / len(scores) if scores else 0.0
        prediction: dict[str, Any] = {
            "task": task_id,
            "result": results,
            "score": score_for_label_studio(mean) if results else score_without_regions(self.run_id),
            "model_version": self.version,
        }
        return Outcome(task_id, orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY), labels=dict(labels))


def _unexpected(task: BulkTask) -> Outcome:
    logger.exception("task %d failed", task.id)
    return Outcome(task.id, error="internal error; the log tells more")
