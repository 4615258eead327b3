"""Submitted annotations of a task, read from Label Studio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sam_backend.label_studio.client import Json, LabelStudioClient


@dataclass(frozen=True)
class Annotation:
    """A submitted annotation: its regions as Label Studio stores them."""

    id: int
    result: Sequence[Mapping[str, Json]]


def annotations_of_task(api: LabelStudioClient, task: int) -> list[Annotation]:
    """Return the submitted annotations of a task."""
    answer = api.call("GET", f"/api/tasks/{task}/annotations/")
    return [Annotation(int(item["id"]), item["result"]) for item in answer]
