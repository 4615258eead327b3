"""What a run is asked to do: one frozen value, the same behind all doors (command line, HTTP, web page, webhooks)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sam_backend.errors import BadRequestError
from sam_backend.protocol.fields import listing, mapping, number, optional_text, shown, text, whole_number

POLICIES = ("skip", "replace-own", "add")
SHAPES = ("auto", "brush", "polygon", "rectangle", "bitmask")
STATES = ("all", "labeled", "unlabeled")
ENGINES = ("local", "ray")
WITHOUT_DETECTOR = ("everything", "boxes")  # segment everything, or the rectangles that are already in the task
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks of the project are taken; the conditions hold together."""

    view: int | None = None  # a tab of the Data Manager
    ids: tuple[int, ...] = ()  # these tasks only; none given means all
    state: str = "all"  # one of STATES: labeled is a task with as many annotations as the project wants
    without_annotations: bool = False
    without_predictions: bool = False
    sample: int | None = None  # so many of them, spread evenly over the project

    @classmethod
    def from_json(cls, value: object) -> "TaskFilter":
        """Parse the field `filter`.

        Raises:
            BadRequestError: names field and value.
        """
        given = _known(mapping(value, "filter"), cls, "filter")
        taken = dict(given)
        if given.get("ids") is not None:
            ids = listing(given["ids"], "filter.ids")
            taken["ids"] = tuple(whole_number(one, f"filter.ids[{i}]", 1, LARGEST_ID) for i, one in enumerate(ids))
            if not ids:
                raise BadRequestError("filter.ids is empty: no task is asked for; leave it out for all tasks")
        for name, most in (("view", LARGEST_ID), ("sample", 1_000_000_000)):
            if given.get(name) is not None:
                taken[name] = whole_number(given[name], f"filter.{name}", 1, most)
        for name in ("without_annotations", "without_predictions"):
            if name in given:
                taken[name] = _yes_or_no(given[name], f"filter.{name}")
        if "state" in given:
            taken["state"] = _one_of(given["state"], "filter.state", STATES)
        return cls(**{name: value for name, value in taken.items() if value is not None})


@dataclass(frozen=True)
class RunConfiguration:
    """Everything that a run depends on; `model` and `detector` are names of the registry or, from the command line
    only, paths of files."""

    project: int
    detector: str = "classical"  # a detector, or one of WITHOUT_DETECTOR
    model: str = "auto"  # the segmenter; auto is the one that the settings choose
    score_threshold: float | None = None  # 0..1; None: the tag's model_score_threshold, else 0.25
    label_thresholds: Mapping[str, float] = field(default_factory=dict)  # label -> 0..1, beside score_threshold
    label_map: Mapping[str, str] = field(default_factory=dict)  # class of the detector -> label
    iou_threshold: float = 0.7  # 0..1, of two boxes that overlap by more the surer one stays
    at_most: int = 300  # objects a picture
    shape: str = "auto"  # one of SHAPES; auto is what the labeling config's control tags want
    policy: str = "skip"  # one of POLICIES: what happens to tasks that hold predictions already
    filter: TaskFilter = TaskFilter()
    engine: str = "local"  # one of ENGINES
    ray_address: str | None = None  # None: a Ray of our own on this machine
    ray_workers: int | None = None  # None: one a GPU, or one a CPU but for one that stays free
    show: bool = False  # make the run's predictions the ones that people see (project.model_version)

    @classmethod
    def from_json(cls, body: object) -> "RunConfiguration":
        """Parse the body of POST /api/runs, a model's extra parameters, or what `to_json` wrote.

        Raises:
            BadRequestError: a field that is unknown, or a value of the wrong kind or out of range; names both.
        """
        given = _known(mapping(body, "the body"), cls, "the body")
        taken: dict[str, Any] = {"project": whole_number(given.get("project"), "project", 1, LARGEST_ID)}
        for name in ("detector", "model"):
            if given.get(name) is not None:
                taken[name] = text(given[name], name).strip()
                if not taken[name]:
                    raise BadRequestError(f"{name} is empty: needed: a name such as 'classical'")
        if given.get("score_threshold") is not None:
            taken["score_threshold"] = number(given["score_threshold"], "score_threshold", 0, 1)
        if given.get("iou_threshold") is not None:
            taken["iou_threshold"] = number(given["iou_threshold"], "iou_threshold", 0, 1)
        if given.get("at_most") is not None:
            taken["at_most"] = whole_number(given["at_most"], "at_most", 1, 10_000)
        if given.get("label_thresholds") is not None:
            taken["label_thresholds"] = {
                label: number(value, f"label_thresholds.{label}", 0, 1)
                for label, value in mapping(given["label_thresholds"], "label_thresholds").items()
            }
        if given.get("label_map") is not None:
            taken["label_map"] = {
                name: text(label, f"label_map.{name}")
                for name, label in mapping(given["label_map"], "label_map").items()
            }
        for name, choices in (("shape", SHAPES), ("policy", POLICIES), ("engine", ENGINES)):
            if given.get(name) is not None:
                taken[name] = _one_of(given[name], name, choices)
        if given.get("filter") is not None:
            taken["filter"] = TaskFilter.from_json(given["filter"])
        if given.get("ray_address") is not None:
            taken["ray_address"] = optional_text(given["ray_address"], "ray_address")
        if given.get("ray_workers") is not None:
            taken["ray_workers"] = whole_number(given["ray_workers"], "ray_workers", 1, 10_000)
        if given.get("show") is not None:
            taken["show"] = _yes_or_no(given["show"], "show")
        return cls(**taken)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back into an equal value."""
        return json.loads(json.dumps(asdict(self)), object_hook=_without_empty_ids)  # type: ignore[no-any-return]

    def with_model(self, name: str) -> "RunConfiguration":
        """The same, with the segmenter called `name`."""
        return replace(self, model=name)


def _without_empty_ids(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not (name == "ids" and value == [])}


def _known(given: dict[str, Any], kind: type, where: str) -> dict[str, Any]:
    known = {each.name for each in fields(kind)}
    for name in given:
        if name not in known:
            raise BadRequestError(f"{where} has an unknown field {shown(name)}; known: {', '.join(sorted(known))}")
    return given


def _one_of(value: object, name: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise BadRequestError(f"{name}={shown(value)} is not one of {', '.join(choices)}")
    return str(value)


def _yes_or_no(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequestError(f"{name}={shown(value)} is neither true nor false")
    return value
