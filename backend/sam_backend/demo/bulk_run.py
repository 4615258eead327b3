"""The demo's run: pre-annotate the photographs through the backend's HTTP API, as its page does."""

import time
from collections.abc import Callable
from typing import Any

import urllib3

DETECTOR = "everything"  # what the photographs show is not what the classical detector knows: people and faces
LABELS = {"object": "Thing"}
SCORE_THRESHOLD = 0.65  # what the classical segmenter is sure of
ENDED = ("finished", "failed", "cancelled")
LOOK_EVERY_S, GIVE_UP_AFTER_S = 0.5, 900.0


class RunFailedError(Exception):
    """The run failed; the message has the backend's reason."""


def preannotate(project: int, backend_url: str, say: Callable[[str], None]) -> None:
    """Start a run over a project and wait for its end.

    Raises:
        RunFailedError: it was refused, failed, or a task of it did.
    """
    http = urllib3.PoolManager(retries=False, timeout=60.0)
    asked = {"project": project, "detector": DETECTOR, "label_map": LABELS, "score_threshold": SCORE_THRESHOLD}
    began = time.monotonic()
    run = _asked(http, "POST", f"{backend_url}/api/runs", asked)["run"]
    say(f"bulk run: {run['id']} segments everything in each image; see {backend_url}/")
    while run["state"] not in ENDED:
        if time.monotonic() - began > GIVE_UP_AFTER_S:
            raise RunFailedError(f"run {run['id']} is still {run['state']} after {GIVE_UP_AFTER_S:.0f} s")
        time.sleep(LOOK_EVERY_S)
        run = _asked(http, "GET", f"{backend_url}/api/runs/{run['id']}")["run"]
    counts = run["counts"]
    if run["state"] != "finished" or counts["failed"]:
        raise RunFailedError(f"run {run['id']} is {run['state']}, {counts['failed']} tasks failed: {run['message']}")
    done = f"{counts['written']} photographs, {counts['objects']} masks"
    if not counts["written"]:
        done = f"nothing to do, {counts['skipped']} photographs from last time"
    say(f"bulk run: {done} in {time.monotonic() - began:.1f} s; the Data Manager counts them under Predictions")


def _asked(http: urllib3.PoolManager, method: str, url: str, body: Any = None) -> Any:
    try:
        answer = http.request(method, url, json=body) if body is not None else http.request(method, url)
    except urllib3.exceptions.HTTPError as error:
        raise RunFailedError(f"the backend at {url} does not answer ({error})") from error
    found = answer.json()
    if answer.status not in (200, 202):
        raise RunFailedError(f"the backend refused: {found.get('error')}")
    return found
