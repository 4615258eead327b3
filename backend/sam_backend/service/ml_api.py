"""What a call of Label Studio does, whichever server it came in by: this package's own, or label-studio-ml's."""

import logging
from typing import Any

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.images.sources import host_of
from sam_backend.interactive.prefetch import PrefetchJob
from sam_backend.interactive.task_predictor import ImageCredentials, image_request
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import PredictRequest, SetupRequest, Task, WebhookEvent
from sam_backend.service.service import Service

logger = logging.getLogger(__name__)

START_TRAINING, TASKS_CREATED = "START_TRAINING", "TASKS_CREATED"


def setup(parts: Service, asked: SetupRequest) -> str:
    """A project introduces itself; gives the model version that it is to show."""
    parts.access.learn_from_setup(asked.hostname, asked.access_token)
    if asked.project_id is not None:
        parts.bulk.projects.learn(asked.project_id, asked.extra_params, asked.project_created_s)
    try:
        LabelingConfig.from_xml(asked.labeling_config)
    except BackendError as error:  # the project may get its config later: connecting it must work
        logger.warning("setup of project %s: %s", asked.project, error)
    if asked.project_id is None:
        return parts.model.version
    return parts.bulk.projects.version_for_setup(asked.project_id, asked.project_created_s)


def webhook(parts: Service, event: WebhookEvent) -> None:
    """An event: "Start Training" and imports may begin a run, the others nothing.

    Raises:
        BackendError: a run is asked for and cannot begin.
    """
    if event.action == START_TRAINING:
        if event.project_id is None:
            raise BadRequestError("project is missing: needed: the project that is to be pre-annotated")
        parts.bulk.start_training(event.project_id)
    elif event.action == TASKS_CREATED and event.project_id is not None:
        parts.bulk.tasks_created(event.project_id, event.task_ids)


def predict(parts: Service, asked: PredictRequest) -> list[Any]:
    """The item of `results` for each task: masks for a person's prompts, else the pre-annotation of the project.

    Where a project wants no pre-annotation, opening a task gives a head start on its embedding, and no prediction.
    RLE in an item may be a uint8 array.

    Raises:
        BackendError: no answer can be given; names the task.
    """
    credentials = ImageCredentials(asked.login, asked.password)
    if asked.context is None:
        for task in asked.tasks:
            _prefetch(parts, task, asked.labeling_config, credentials)
        answers = parts.bulk.answer(asked.tasks, asked.labeling_config, credentials)
        return [[] for _ in asked.tasks] if answers is None else list(answers)  # `[]`: nothing is stored for the task
    if not asked.tasks:
        raise BadRequestError("tasks is empty: there is nothing that params.context belongs to")
    prompts, at_most = len(asked.context) * len(asked.tasks), parts.settings.max_prompts
    if prompts > at_most:
        raise BadRequestError(f"the request has {prompts} prompts; at most {at_most} are answered: see SAM_MAX_PROMPTS")
    config = LabelingConfig.from_xml(asked.labeling_config)
    results = []
    for task in asked.tasks:
        try:
            results.append(parts.predictor.predict(task, asked.context, config, credentials).to_json())
        except BackendError as error:
            raise type(error)(f"{task.name}: {error}") from error
    return results


def _prefetch(parts: Service, task: Task, labeling_config: str, credentials: ImageCredentials) -> None:
    if not parts.settings.prefetch:
        return
    try:
        config = LabelingConfig.from_xml(labeling_config)
        asked = image_request(task, config, credentials)
        is_warm = parts.predictor.is_warm(asked)
    except BackendError as error:
        logger.warning("%s cannot be prefetched: %s", task.name, error)
        return
    if is_warm:
        return
    job = PrefetchJob(
        name=task.name,
        origin=host_of(asked.uri),
        fetch=lambda: parts.predictor.image(asked),
        embed=lambda image: parts.predictor.embedding(task, image),
    )
    parts.prefetcher.submit(asked, job)
