"""Predictions that Label Studio stores: written many at once, read and deleted one task at a time.

Source: label-studio 1.23.2, data_import/api.py (`ImportPredictionsAPI` drops what it finds invalid without a word, and
refuses a whole list for one unknown task) and tasks/api.py (`PredictionAPI`).
"""

from collections.abc import Sequence

from sam_backend.label_studio.client import Json, LabelStudioApiError, LabelStudioClient


def import_predictions(api: LabelStudioClient, project: int, predictions: Sequence[bytes]) -> int:
    """Add predictions, each a JSON object; how many Label Studio took comes back."""
    text = b"[" + b",".join(predictions) + b"]"
    answer = api.call("POST", f"/api/projects/{project}/import/predictions", text=text)
    return int(answer["created"])


def predictions_of_task(api: LabelStudioClient, task: int) -> list[Json]:
    """All predictions of a task, with their regions; none of a task that is gone."""
    found: list[Json] = api.call("GET", "/api/predictions/", query={"task": task})
    return found


def delete_prediction(api: LabelStudioClient, prediction: int) -> bool:
    """Remove a prediction; whether there was one."""
    try:
        api.call("DELETE", f"/api/predictions/{prediction}/")
    except LabelStudioApiError as error:
        if error.status == 404:
            return False
        raise
    return True
