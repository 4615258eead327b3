"""Which of a task's predictions an evaluation judges."""

from collections.abc import Sequence

from sam_backend.evaluation.evaluation import Choose
from sam_backend.label_studio.client import Json
from sam_backend.label_studio.stored_annotations import newest_prediction
from sam_backend.preannotation.provenance import is_of_run


def of_run(run_id: str) -> Choose:
    """Return a function that selects the prediction that a run wrote."""

    def choose(predictions: Sequence[Json]) -> Json | None:
        return newest_prediction([one for one in predictions if is_of_run(one, run_id)])

    return choose


def of_version(model_version: str | None) -> Choose:
    """Return a function that selects the newest prediction of a model version; of any one if it is None."""

    def choose(predictions: Sequence[Json]) -> Json | None:
        return newest_prediction(predictions, model_version)

    return choose
