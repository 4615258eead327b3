"""HTTP API of runs, projects, clicks and status; see docs/http-api.md."""

from dataclasses import asdict

from flask import Blueprint, Response, request

from sam_backend import metrics
from sam_backend.embeddings.disk import embedding_folder
from sam_backend.preannotation.configuration import LARGEST_ID, RunConfiguration
from sam_backend.protocol.fields import mapping, number, whole_number
from sam_backend.runs.run_store import Run
from sam_backend.segmenter.choice import SEGMENTER_NAMES
from sam_backend.web.responses import json_body, json_response, service
from sam_model.weights.folder_store import folder_presence
from sam_model.weights.folders import FOLDERS

run_routes = Blueprint("runs", __name__, url_prefix="/api")

REPORT_POLICY = (  # a report is one file: its style is within, and it has no script
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
MAX_PREVIEW_TASKS = 8
MAX_FAILURES = 100
MAX_RUNS = 100  # the page reads the list every second; a year of runs must not make that slow


@run_routes.get("/runs")
def list_runs() -> Response:
    """Return the newest runs, or those of one project, and the runs that cannot be read."""
    project = request.args.get("project")
    if project is not None:
        is_number = project.isdecimal() and len(project) <= len(str(LARGEST_ID))
        wanted = whole_number(int(project) if is_number else project, "project", 1, LARGEST_ID)
    found = service().runs.list_runs(None if project is None else wanted)
    return json_response(
        {
            "runs": [run.progress().to_json() for run in found.runs[:MAX_RUNS]],
            "unreadable": [run.to_json() for run in found.unreadable],
            "problem": found.problem,
        }
    )


@run_routes.post("/runs")
def start_run() -> Response:
    """Start a run."""
    return _accepted(service().runs.start(_configuration(json_body())))


@run_routes.get("/runs/<run_id>")
def show_run(run_id: str) -> Response:
    """Return one run and the first of its failed tasks."""
    run = service().runs.find(run_id)
    failures = [{"task": task, "error": reason} for task, reason in run.failures(MAX_FAILURES)]
    return json_response({"run": run.progress().to_json(), "failures": failures})


@run_routes.post("/runs/<run_id>/pause")
def pause_run(run_id: str) -> Response:
    """Stop a run until it is resumed, whichever process works on it."""
    return _accepted(service().runs.pause(run_id))


@run_routes.post("/runs/<run_id>/cancel")
def cancel_run(run_id: str) -> Response:
    """Stop a run for good, whichever process works on it."""
    return _accepted(service().runs.cancel(run_id))


@run_routes.post("/runs/<run_id>/resume")
def resume_run(run_id: str) -> Response:
    """Continue a run that was stopped or interrupted."""
    return _accepted(service().runs.resume(run_id))


@run_routes.post("/runs/<run_id>/retry")
def retry_run(run_id: str) -> Response:
    """Process the failed tasks of a run again."""
    return _accepted(service().runs.retry(run_id))


@run_routes.post("/runs/<run_id>/undo")
def undo_run(run_id: str) -> Response:
    """Remove the predictions that a run wrote."""
    return _accepted(service().runs.undo(run_id))


@run_routes.post("/runs/<run_id>/review")
def review_run(run_id: str) -> Response:
    """Create a tab of the Data Manager with the riskiest tasks first, and one with a random sample if wanted."""
    body = mapping(json_body(), "the body")
    review, url = service().evaluations.review(run_id, number(body.get("audit", 0), "audit", 0, 1))
    return json_response({"review": review.to_json(), "url": url})


@run_routes.post("/runs/<run_id>/evaluate")
def evaluate_run(run_id: str) -> Response:
    """Compare a run's predictions with the annotations, in the background."""
    wants_calibration = mapping(json_body(), "the body").get("calibrate", False)
    service().evaluations.start(run_id, with_calibration=bool(wants_calibration))
    return json_response(service().evaluations.status(run_id), 202)


@run_routes.get("/runs/<run_id>/evaluation")
def show_evaluation(run_id: str) -> Response:
    """Return the state and the numbers of a run's evaluation."""
    return json_response(service().evaluations.status(run_id))


@run_routes.get("/runs/<run_id>/report")
def show_report(run_id: str) -> Response:
    """Return the report of a run's evaluation as a page."""
    response = Response(service().evaluations.report(run_id), mimetype="text/html")
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@run_routes.get("/projects/<int:project>/advice")
def threshold_advice(project: int) -> Response:
    """Return the thresholds and the calibration that the project's newest evaluated run advises."""
    return json_response(service().evaluations.advice(project))


@run_routes.post("/runs/preview")
def preview() -> Response:
    """Return some annotated images and an estimate for the whole run; writes nothing."""
    body = dict(mapping(json_body(), "the body"))
    tasks = whole_number(body.pop("tasks", 4), "tasks", 1, MAX_PREVIEW_TASKS)
    return json_response(service().previews.preview(_configuration(body), tasks).to_json())


@run_routes.post("/runs/mapping")
def label_mapping() -> Response:
    """Return the label of each class of the detector in a project."""
    report, tasks = service().previews.mapping(_configuration(json_body()))
    return json_response({"mapping": report.to_json(), "tasks": tasks})


@run_routes.get("/projects")
def projects() -> Response:
    """Return Label Studio's projects, and whether each one uses this backend."""
    return json_response({"projects": [asdict(line) for line in service().project_list.lines()]})


@run_routes.get("/clicks")
def clicks() -> Response:
    """Return the last requests for predictions, the newest first, and the number of refused ones by reason."""
    refused = {
        sample.labels["reason"]: int(sample.value)
        for sample in next(iter(metrics.refused.collect())).samples
        if sample.name.endswith("_total")
    }
    found = service().clicks.newest_first()
    return json_response({"clicks": [click.to_json() for click in found], "refused": refused})


@run_routes.get("/status")
def status() -> Response:
    """Return model, cache, checks and choices at once, without waiting for Label Studio."""
    parts = service()
    weights = [
        {"model": each.weights.model, "file": each.weights.file, "presence": each.presence.value}
        for each in parts.store.statuses()
    ]
    weights += [
        {"model": each.model, "file": f"{each.model}/", "presence": folder_presence(parts.store, each).value}
        for each in FOLDERS
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
            "stored_embeddings": _stored_embeddings(),
            "label_studio": {"url": parts.credentials.url},
            "detectors": parts.projects.detector_names(),
            "models": ["auto", *SEGMENTER_NAMES],
            "weights": weights,
            "checks": [asdict(check) for check in parts.health_monitor.checks()],
        }
    )


def _stored_embeddings() -> dict[str, int] | None:
    folder = embedding_folder(service().settings)
    try:
        return None if folder is None else asdict(folder.statistics())
    except OSError:  # the check of the folder says why
        return None


def _configuration(body: object) -> RunConfiguration:
    configuration = RunConfiguration.from_json(body)
    service().projects.check_names(configuration)
    return configuration


def _accepted(run: Run) -> Response:
    return json_response({"run": run.progress().to_json()}, 202)
