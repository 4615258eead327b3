"""Runs over HTTP: start, watch, pause, cancel, resume, retry, undo; see docs/http-api.md."""

from dataclasses import asdict

from flask import Blueprint, Response, request

from sam_backend.preannotation.configuration import LARGEST_ID, WITHOUT_DETECTOR, RunConfiguration
from sam_backend.protocol.fields import mapping, whole_number
from sam_backend.runs.run_store import Run, RunStateError, RunStoreError
from sam_backend.service.project_registry import check_names
from sam_backend.web.responses import json_body, json_response, service
from sam_model.registry import DETECTOR_NAMES, MODEL_NAMES

run_routes = Blueprint("runs", __name__, url_prefix="/api")

MAX_PICTURES = 8
MAX_FAILURES = 100
MAX_RUNS = 100  # the page asks every second: a year of runs must not make that slow


@run_routes.get("/runs")
def runs() -> Response:
    """The newest runs, or those of one project, the newest first; and the runs that cannot be read."""
    store = service().bulk.runs
    problem = store.problem()
    try:
        found, unreadable = store.runs(), store.unreadable()
    except RunStoreError as error:
        found, unreadable, problem = [], [], problem or str(error)
    project = request.args.get("project")
    if project is not None:
        is_number = project.isdecimal() and len(project) <= len(str(LARGEST_ID))
        number = whole_number(int(project) if is_number else project, "project", 1, LARGEST_ID)
        found = [run for run in found if run.configuration.project == number]
    return json_response(
        {
            "runs": [run.progress().to_json() for run in found[:MAX_RUNS]],
            "unreadable": [one.to_json() for one in unreadable],
            "problem": problem,
        }
    )


@run_routes.post("/runs")
def start_run() -> Response:
    """Start a run."""
    return _accepted(service().bulk.start(_configuration(json_body())))


@run_routes.get("/runs/<run_id>")
def one_run(run_id: str) -> Response:
    """One run, and the first of its failed tasks."""
    run = service().bulk.runs.get(run_id)
    failures = [{"task": task, "error": reason} for task, reason in run.failures(MAX_FAILURES)]
    return json_response({"run": run.progress().to_json(), "failures": failures})


@run_routes.post("/runs/<run_id>/<any(pause, cancel):wish>")
def stop_run(run_id: str, wish: str) -> Response:
    """Stop a run, for now or for good, wherever it is worked on."""
    run = service().bulk.runs.get(run_id)
    run.ask(wish)
    return _accepted(run)


@run_routes.post("/runs/<run_id>/<any(resume, undo):action>")
def go_on_with_run(run_id: str, action: str) -> Response:
    """Go on with a run, or remove what it wrote."""
    run = service().bulk.runs.get(run_id)
    service().bulk.supervisor.refuse_elsewhere(run)
    run.ask("go" if action == "resume" else "undo")
    service().bulk.supervisor.take(run)
    return _accepted(run)


@run_routes.post("/runs/<run_id>/retry")
def retry_run(run_id: str) -> Response:
    """Do the failed tasks of a run again."""
    run = service().bulk.runs.get(run_id)
    service().bulk.supervisor.refuse_elsewhere(run)
    if not run.retry():
        raise RunStateError(f"run {run.id} has no failed task")
    service().bulk.supervisor.take(run)
    return _accepted(run)


@run_routes.post("/runs/preview")
def preview() -> Response:
    """A few tasks as pictures, with an estimate for all; writes nothing."""
    body = dict(mapping(json_body(), "the body"))
    tasks = whole_number(body.pop("tasks", 4), "tasks", 1, MAX_PICTURES)
    return json_response(service().bulk.preview(_configuration(body), tasks).to_json())


@run_routes.post("/runs/mapping")
def label_mapping() -> Response:
    """What becomes of the detector's classes in a project."""
    report, tasks = service().bulk.mapping(_configuration(json_body()))
    return json_response({"mapping": report.to_json(), "tasks": tasks})


@run_routes.get("/projects")
def projects() -> Response:
    """The projects of Label Studio, and whether this backend is connected with them."""
    bulk = service().bulk
    lines = bulk.asked(bulk.view.project_lines, "the list of projects")
    return json_response({"projects": [asdict(line) for line in lines]})


@run_routes.get("/status")
def status() -> Response:
    """The model, the cache, what is missing, and what can be chosen; at once, whatever Label Studio does."""
    parts = service()
    weights = [
        {"model": each.weights.model, "file": each.weights.file, "presence": each.presence.value}
        for each in parts.store.statuses()
    ]
    return json_response(
        {
            "model": {
                "name": parts.model.name,
                "version": parts.model.version,
                "state": parts.model.state,
                "progress": parts.model.progress,
                "problem": parts.model.problem,
            },
            "cache": asdict(parts.cache.statistics()),
            "label_studio": {"url": parts.access.url},
            "detectors": [*WITHOUT_DETECTOR, *DETECTOR_NAMES],
            "models": ["auto", *MODEL_NAMES],
            "weights": weights,
            "checks": [asdict(check) for check in parts.health_monitor.checks()],
        }
    )


def _configuration(body: object) -> RunConfiguration:
    configuration = RunConfiguration.from_json(body)
    check_names(configuration)
    return configuration


def _accepted(run: Run) -> Response:
    return json_response({"run": run.progress().to_json()}, 202)
