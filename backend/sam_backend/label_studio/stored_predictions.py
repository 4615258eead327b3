"""Predictions stored in Label Studio: import of many, list and deletion for one task.

Source: label-studio 1.23.2, data_import/api.py (`ImportPredictionsAPI` silently drops invalid predictions, and refuses
the whole list if one task is unknown) and tasks/api.py (`PredictionAPI`).
"""

from collections.abc import Sequence

from sam_backend.label_studio.client import Json, LabelStudioApiError, LabelStudioClient


def import_predictions(api: LabelStudioClient, project: int, predictions: Sequence[bytes]) -> int:
    """Add predictions, each a JSON object, and return how many of them Label Studio stored."""
    text = b"[" + b",".join(predictions) + b"]"
    answer = api.call("POST", f"/api/projects/{project}/import/predictions", text=text)
    return int(answer["created"])


def predictions_of_task(api: LabelStudioClient, task: int) -> list[Json]:
    """Return all predictions of a task with their regions; a deleted task has none."""
    found: list[Json] = api.call("GET", "/api/predictions/", query={"task": task})
    return found


def delete_prediction(api: LabelStudioClient, prediction: int) -> bool:
    """Delete a prediction and return whether it existed."""
    try:
        api.call("DELETE", f"/api/predictions/{prediction}/")
    except LabelStudioApiError as error:
        if error.status == 404:
            return False
        raise
    return True
