"""Preview of a run: a few annotated images, counts and an estimate; nothing is written to Label Studio."""

import base64
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sam_backend.exemplars.example_set import Thumbnail
from sam_backend.exemplars.reading import examples_reader
from sam_backend.images.fetch import ImageCredentials, ImageFetcher, fetch_limits
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import project_details
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.preannotation.calibration import calibration_of
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.label_mapping import MappingReport
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.object_sources import ExemplarObjects
from sam_backend.preannotation.outcome import BulkTask
from sam_backend.preannotation.provenance import DIRECT
from sam_backend.runs.run_store import RunStore, runs_folder
from sam_backend.runs.task_preview import TaskPreview, preview_task
from sam_backend.runs.task_source import TaskSource, ids_on_page, sampled_in
from sam_backend.settings import Settings
from sam_model.interfaces import Segmenter
from sam_model.weights.store import WeightStore

GIVE_UP_AFTER_S = 10.0
SAMPLE_GROWTH = 8  # of the listed tasks, if too few of them meet the conditions
MAX_SAMPLE = 512  # listed tasks at which the growth ends: in a large project, each is a request


@dataclass(frozen=True)
class Preview:
    """Annotated tasks with their cost; `tasks` is the number of tasks that the run would read."""

    images: tuple[TaskPreview, ...]
    report: MappingReport
    tasks: int
    seconds_per_task: float
    bytes_per_task: float
    examples: tuple[Thumbnail, ...] = ()
    indexed_scores: tuple[float, ...] = ()  # the highest of each image in the index, with examples

    def to_json(self) -> dict[str, Any]:
        """Return the answer of POST /api/runs/preview."""
        return {
            "images": [_task_json(one) for one in self.images],
            "examples": [{"task": one.task, "label": one.label, "image": _data_url(one.jpeg)} for one in self.examples],
            "indexed_scores": [round(score, 2) for score in self.indexed_scores],
            "mapping": self.report.to_json(),
            "estimate": {
                "tasks": self.tasks,
                "seconds": round(self.tasks * self.seconds_per_task, 1),
                "bytes": math.ceil(self.tasks * self.bytes_per_task),
            },
        }


def preview_run(
    configuration: RunConfiguration,
    number: int,
    *,
    settings: Settings,
    access: LabelStudioCredentials,
    store: WeightStore,
    segmenter: Segmenter[Any] | None = None,
) -> Preview:
    """Annotate `number` of the tasks that the run would annotate, evenly spread, without writing to Label Studio.

    Raises:
        BackendError: the configuration, or the project's labeling config, cannot be used.
        WeightsError: weights are missing.
        LabelStudioApiError: Label Studio refuses.
    """
    api = LabelStudioClient(access)
    retry_policy = RetryPolicy(lambda: False, GIVE_UP_AFTER_S, lambda message: None)
    project = project_details(api, configuration.project)
    preannotator = load_preannotator(
        configuration,
        project.labeling_config,
        DIRECT,
        settings,
        store,
        ImageFetcher(access, fetch_limits(settings)),
        segmenter=segmenter,
        credentials=ImageCredentials(project.task_login, project.task_password),
        examples=examples_reader(api, project.id, configuration.example_tasks, retry_policy),
        calibration=calibration_of(configuration.calibration, runs_folder(settings.runs_dir)),
    )
    tasks = _sampled_tasks(api, configuration, number, retry_policy)
    began, images, size = time.perf_counter(), [], 0
    for task in tasks:
        image, outcome = preview_task(preannotator, task)
        images.append(image)
        size += len(outcome.prediction or b"")
    per_task = 1 / max(1, len(images))
    seconds = (time.perf_counter() - began) * per_task
    examples = () if preannotator.examples is None else preannotator.examples.thumbnails
    found = preannotator.object_source
    indexed = tuple(found.similar.best_scores()) if isinstance(found, ExemplarObjects) else ()
    total = _number_of_tasks(api, configuration)
    return Preview(tuple(images), preannotator.report, total, seconds, size * per_task, examples, indexed)


def _task_json(preview: TaskPreview) -> dict[str, Any]:
    return {
        "task": preview.task_id,
        "image": preview.jpeg and _data_url(preview.jpeg),
        "size": list(preview.size),
        "labels": preview.labels,
        "objects": [
            {"label": one.label, "score": round(one.score, 3), "outline": one.outline} for one in preview.objects
        ],
        "error": preview.error,
    }


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _sampled_tasks(
    api: LabelStudioClient, configuration: RunConfiguration, number: int, retry_policy: RetryPolicy
) -> list[BulkTask]:
    """Return `number` of the tasks that the run would annotate, evenly spread; all of them if there are fewer.

    Tasks are listed in growing samples until enough of them meet the filter's conditions, or `MAX_SAMPLE` are listed.
    """
    selection, sample = configuration.filter, number
    while True:
        sample = min(sample, selection.sample or sample)
        listed = replace(configuration, policy="add", filter=replace(selection, sample=sample))
        with tempfile.TemporaryDirectory() as folder:
            run = RunStore(Path(folder)).create(listed)
            tasks = list(TaskSource(api, run, "", retry_policy))
            is_complete = run.ledger.run()["listed"] < sample or sample == selection.sample
        if is_complete or len(tasks) >= number or sample >= MAX_SAMPLE:
            return [tasks[position] for position in sampled_in(0, len(tasks), len(tasks), number)]
        sample = min(sample * SAMPLE_GROWTH, MAX_SAMPLE)


def _number_of_tasks(api: LabelStudioClient, configuration: RunConfiguration) -> int:
    """Return the number of tasks that the run would read."""
    wanted = configuration.filter
    total = len(wanted.ids) or ids_on_page(api, configuration, 1)[1]
    return min(total, wanted.sample or total)
