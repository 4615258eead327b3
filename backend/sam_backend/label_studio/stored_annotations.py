"""Which of a task's stored annotations and predictions counts.

Source: label-studio 1.23.2, tasks/serializers.py.
"""

from collections.abc import Sequence

from sam_backend.label_studio.client import Json


def final_annotation(annotations: Sequence[Json]) -> Json | None:
    """Return the submitted annotation that counts: the newest ground truth, else the newest; None if there is none.

    Skipped tasks (cancelled annotations) count as not annotated.
    """
    submitted = [one for one in annotations if not one.get("was_cancelled")]
    return max(submitted, key=lambda one: (bool(one.get("ground_truth")), int(one["id"])), default=None)


def newest_prediction(predictions: Sequence[Json], model_version: str | None = None) -> Json | None:
    """Return the newest prediction, of this model version if one is given; None if there is none."""
    found = [one for one in predictions if model_version is None or one.get("model_version") == model_version]
    return max(found, key=lambda one: int(one["id"]), default=None)
