"""How a prediction in Label Studio is known as one that a certain run wrote.

Label Studio gives imported predictions no field for it, and `model_version` names the models, so that a second run can
pass over what a first one did. So the mark stands in the ids of the regions; a prediction without regions carries it
in its score, a number below 0.00002 that people see as 0 and databases keep exactly.
"""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

PRODUCT = "label-studio-sam"  # the first word of every model_version of a run
RUN_ID = re.compile(r"\d{6}-[0-9a-f]{6}")
DIRECT = "000000-000000"  # the mark of predictions that no run wrote: answers to "Retrieve predictions"


def new_run_id() -> str:
    """The day and six random hex digits, such as `261124-4f3a9c`."""
    return f"{datetime.now(UTC):%y%m%d}-{secrets.token_hex(3)}"


def model_version(detector: str, model: str, digest: str) -> str:
    """What all predictions of a run carry: the models by name, and 8 digits for weights and settings."""
    return f"{PRODUCT} {detector}+{model} {digest[:8]}"


def region_id(run_id: str, task_id: int, number: int) -> str:
    """The id of a region: of the run, the task and the object's place in the prediction."""
    return f"sam-{run_id}-{task_id}-{number}"


def score_without_regions(run_id: str) -> float:
    """The score of a prediction that has no regions: the run's random digits, as 0.000000 to 0.000017."""
    return int(run_id[-6:], 16) / 1e12


def is_of_run(prediction: Mapping[str, Any], run_id: str) -> bool:
    """Whether a prediction, as Label Studio's API gives it, was written by this run."""
    if not is_ours(prediction):
        return False
    result = prediction.get("result") or []
    if not result:
        return bool(prediction.get("score") == score_without_regions(run_id))
    return all(str(region.get("id", "")).startswith(f"sam-{run_id}-") for region in result)


def is_ours(prediction: Mapping[str, Any]) -> bool:
    """Whether a run of this product wrote a prediction, whichever."""
    return str(prediction.get("model_version") or "").startswith(f"{PRODUCT} ")
