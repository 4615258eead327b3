"""What `predict` may give."""

from label_studio_sdk.label_interface.objects import PredictionValue
from pydantic import BaseModel, ConfigDict


class ModelResponse(BaseModel):
    """Predictions for each task, one or several."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str | None = None
    predictions: list[list[PredictionValue] | PredictionValue]
