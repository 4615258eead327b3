"""The calls of Label Studio's ML API, for this package's own server and for label-studio-ml's."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.images.fetch import ImageCredentials
from sam_backend.interactive.click_log import OpenClick
from sam_backend.interactive.task_predictor import embedding_job, image_request
from sam_backend.preannotation.configuration import describe_opened_tasks
from sam_backend.protocol.fields import shown
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.predictions import Prediction
from sam_backend.protocol.regions import KeyPoint, PromptRegion, TypedText
from sam_backend.protocol.requests import CAPABILITIES, EVENTS, PredictRequest, SetupRequest, Task, WebhookEvent
from sam_backend.segmenter.request_model import RequestModel
from sam_backend.service.service import Service
from sam_backend.shapes.click_shapes import describe_click_shapes

logger = logging.getLogger(__name__)

SAME_AS_OPENED = (
    "{task} was opened, or is the only task of Retrieve Predictions: Label Studio's requests are equal, so no region "
    'was returned; select two or more tasks, or set the extra parameter {{"detector": "everything"}}'
)
START_TRAINING, TASKS_CREATED = "START_TRAINING", "TASKS_CREATED"


def setup(service: Service, request: SetupRequest) -> str:
    """Register a project and return the model version that Label Studio shows for it."""
    service.credentials.learn_from_setup(request.hostname, request.access_token)
    if request.project_id is not None:
        service.projects.learn(request.project_id, request.extra_params, request.project_created_s)
    version = service.models.version()
    if request.project_id is not None:
        version = service.projects.version_for_setup(request.project_id, request.project_created_s)
    options = service.projects.click_options(request.project_id, request.project_created_s)
    try:
        config = LabelingConfig.from_xml(request.labeling_config)
        shapes = describe_click_shapes(config, options.sam_output)
    except BackendError as error:  # not refused: a project may get its labeling config after its model
        logger.warning("setup of project %s: %s", request.project, error)
        if options.sam_output is not None and request.project_id is not None:
            service.projects.note_problem(request.project_id, f"could not use the model's extra parameters: {error}")
    else:
        if request.project_id is not None:
            model = "" if options.model == "auto" else f"model {options.model}"
            described = ", ".join(part for part in (shapes, options.text(), model) if part)
            described += _opened_tasks(service, request.project_id, request.project_created_s, config)
            service.projects.note_clicks(request.project_id, described, request.project_created_s)
    return version


def _opened_tasks(service: Service, project: int, created_s: int | None, config: LabelingConfig) -> str:
    """Return what an opened task gets, for users; note why the project's words cannot be used."""
    try:
        configuration = service.projects.configuration(project, created_s)
    except BackendError:  # noted by `version_for_setup`
        return ""
    problem = None if configuration is None else service.projects.text_problem(configuration, config)
    if problem is not None:
        service.projects.note_problem(project, problem)
        return ""
    return f"; {describe_opened_tasks(configuration)}"


def webhook(service: Service, event: WebhookEvent) -> None:
    """Start a run for "Start Training" and, if the settings ask for it, for imports; ignore other events.

    Raises:
        BadRequestError: "Start Training" without a project.
    """
    if event.action == START_TRAINING:
        if event.project_id is None:
            raise BadRequestError("could not start a run: project is missing; needed: the number of a project")
        service.runs.start_training(event.project_id)
    elif event.action == TASKS_CREATED and event.project_id is not None:
        service.runs.tasks_created(event.project_id, event.task_ids)


def predict(service: Service, request: PredictRequest, click: OpenClick) -> list[Any]:
    """Return the item of `results` for each task: masks for prompts, without prompts the project's pre-annotation.

    If the project has no pre-annotation, the items are empty and the image of an opened task is embedded in advance.
    RLE in an item may be a uint8 array. The request and its result are noted in `click`.

    Raises:
        BackendError: a task cannot be answered; names it.
    """
    click.project = request.tasks[0].project_id if request.tasks else None
    click.tasks = tuple(task.id for task in request.tasks if task.id is not None)
    credentials = ImageCredentials(request.login, request.password)
    if request.context is None:
        for task in request.tasks:
            _prefetch(service, task, request.labeling_config, credentials)
        if len(request.tasks) == 1:
            service.next_tasks.task_opened(
                request.tasks[0], request.labeling_config, credentials, _model_of(service, request.tasks[0])
            )
        answers = service.batch_predictions.predict(request.tasks, request.labeling_config, credentials)
        predicted = sum(bool(answer) for answer in answers or ())
        click.result = f"{predicted} of {len(request.tasks)} tasks predicted" if predicted else ""
        click.is_listed = bool(predicted or click.reasons or len(request.tasks) > 1)  # not each opened task
        if answers is None and len(request.tasks) == 1 and click.project is not None:
            click.is_listed, click.replaces = True, f"opened {click.project}"
            click.reasons.append(SAME_AS_OPENED.format(task=request.tasks[0].name))
        return [[] for _ in request.tasks] if answers is None else list(answers)  # Label Studio stores nothing for `[]`
    if request.event is not None:
        click.is_listed = False
        return [_answer_to_event(service, request.event, task, request, credentials) for task in request.tasks]
    click.prompts = _described(request.context, request.texts)
    if not request.tasks:
        raise BadRequestError("tasks is empty: params.context needs a task")
    prompts, max_prompts = len(request.context) * len(request.tasks), service.settings.max_prompts
    if prompts > max_prompts:
        raise BadRequestError(f"the request has {prompts} prompts; the maximum is {max_prompts}: see SAM_MAX_PROMPTS")
    config = LabelingConfig.from_xml(request.labeling_config)
    options = service.projects.click_options(request.tasks[0].project_id, request.tasks[0].project_created_s)
    model = service.models.for_request(options.model)
    if request.texts and not request.context:
        return _answer_to_words(service, request, config, credentials, model, click)
    results = []
    for task in request.tasks:
        try:
            found = service.predictor.predict(task, request.context, config, credentials, model, options)
        except BackendError as error:
            raise type(error)(f"{task.name}: {error}") from error
        results.append(found.to_json())
    click.model = model.name
    click.reasons += [model.note] if model.note else []
    for task in request.tasks:
        service.next_tasks.task_clicked(task, request.labeling_config, credentials, _model_of(service, task))
    regions = len({region["id"] for result in results for region in result["result"]})
    click.result = f"{regions} region{'s' if regions > 1 else ''}" if regions else ""
    if not request.context:
        click.reasons.append("the request has no key point, no rectangle and no words")
    return results


def _answer_to_words(
    service: Service,
    request: PredictRequest,
    config: LabelingConfig,
    credentials: ImageCredentials,
    model: RequestModel,
    click: OpenClick,
) -> list[Any]:
    """Return predictions with all objects that the typed words name."""
    takes_words = {tag.name for tag in config.controls if tag.takes_words}
    texts = [typed.text for typed in request.texts if typed.from_name in takes_words]
    if not texts:
        click.reasons.append('the <TextArea> has smart="false" or perRegion="true", so its words are no prompt')
        return [Prediction(model.version).to_json() for _ in request.tasks]
    results, objects = [], 0
    for task in request.tasks:
        try:
            answer = service.word_predictions.predict(task, texts, config, credentials, model)
        except BackendError as error:
            raise type(error)(f"{task.name}: {error}") from error
        results.append(answer.item)
        objects += answer.objects
        service.next_tasks.task_clicked(task, request.labeling_config, credentials, _model_of(service, task))
    click.model = model.name
    click.reasons += [model.note] if model.note else []
    click.result = f"{objects} object{'s' if objects > 1 else ''}" if objects else ""
    return results


def _answer_to_event(
    service: Service, event: str, task: Task, request: PredictRequest, credentials: ImageCredentials
) -> dict[str, Any]:
    """Return a prediction without regions: `prewarm` embeds the task's image in the background, as opening does.

    The item of `capabilities` names what a click may hold. Label Studio 1.23.2 sends neither event.
    """
    options = service.projects.click_options(task.project_id, task.project_created_s)
    answer = Prediction(service.models.version(options.model)).to_json()
    if event == CAPABILITIES:
        return answer | {"capabilities": _capabilities(service)}
    _prefetch(service, task, request.labeling_config, credentials)
    service.next_tasks.task_opened(task, request.labeling_config, credentials, _model_of(service, task))
    return answer


def _capabilities(service: Service) -> dict[str, Any]:
    return {
        "events": list(EVENTS),
        "prompts": ["keypoint", "rectangle", "textarea"],
        "negative_keypoints": True,
        "max_prompts": service.settings.max_prompts,
        "model": service.models.default.name,
    }


def _described(prompts: Sequence[PromptRegion], texts: Sequence[TypedText]) -> str:
    """Return the number of points and rectangles, such as `2 points (1 negative), 1 rectangle`, and the words."""
    points = [prompt.shape for prompt in prompts if isinstance(prompt.shape, KeyPoint)]
    negative = sum(not point.is_positive for point in points)
    numbers = ((len(points), "point"), (len(prompts) - len(points), "rectangle"))
    parts = [f"{number} {name}{'s' if number > 1 else ''}" for number, name in numbers if number]
    if negative:
        parts[0] += f" ({negative} negative)"
    parts += [f"words {shown(' '.join(typed.text.split()))}" for typed in texts]
    return ", ".join(parts) or "none"


def _prefetch(service: Service, task: Task, labeling_config: str, credentials: ImageCredentials) -> None:
    if not service.settings.prefetch:
        return
    try:
        config = LabelingConfig.from_xml(labeling_config)
        image = image_request(task, config, credentials)
        model = _model_of(service, task)
        is_warm = service.predictor.is_warm(image, model())
    except BackendError as error:
        logger.warning("could not prefetch %s: %s", task.name, error)
        return
    if is_warm:
        return
    service.prefetcher.submit(image, embedding_job(service.predictor, task, image, model))


def _model_of(service: Service, task: Task) -> Callable[[], RequestModel]:
    """Return a function for the model of a task's project, as it is when the function is called."""
    options = service.projects.click_options(task.project_id, task.project_created_s)
    return lambda: service.models.for_request(options.model)
