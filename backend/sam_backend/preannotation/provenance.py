"""Provenance of a prediction: the run that wrote it.

Imported predictions in Label Studio have no field for it, and `model_version` names the models, so that a second run
can skip the tasks of the first. So the ids of the regions hold the run's id. A prediction without regions holds it in
its score: a number below 0.00002, which is displayed as 0 and stored exactly.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

PRODUCT = "label-studio-sam"  # the first word of every model_version of a run
DIRECT = "000000-000000"  # run id of predictions that no run wrote: answers to "Retrieve predictions"


def new_run_id() -> str:
    """Return the date and six random hex digits, such as `261124-4f3a9c`."""
    return f"{datetime.now(UTC):%y%m%d}-{secrets.token_hex(3)}"


def model_version(detector: str, model: str, digest: str) -> str:
    """Return the model_version of a run's predictions: the models' names and 8 digits of `digest`."""
    return f"{PRODUCT} {detector}+{model} {digest[:8]}"


def region_id(run_id: str, task_id: int, number: int) -> str:
    """Return a region's id, from the run, the task and the object's position in the prediction."""
    return f"sam-{run_id}-{task_id}-{number}"


def score_without_regions(run_id: str) -> float:
    """Return the score of a prediction without regions: the run's random digits as 0.000000 to 0.000017."""
    return int(run_id[-6:], 16) / 1e12


def is_of_run(prediction: Mapping[str, Any], run_id: str) -> bool:
    """Return whether this run wrote a prediction, as Label Studio's API returns it."""
    if not is_ours(prediction):
        return False
    result = prediction.get("result") or []
    if not result:
        return bool(prediction.get("score") == score_without_regions(run_id))
    return all(str(region.get("id", "")).startswith(f"sam-{run_id}-") for region in result)


def is_ours(prediction: Mapping[str, Any]) -> bool:
    """Return whether any run of this product wrote a prediction."""
    return str(prediction.get("model_version") or "").startswith(f"{PRODUCT} ")
