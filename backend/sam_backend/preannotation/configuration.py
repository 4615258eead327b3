"""Configuration of a run: one frozen value for command line, HTTP interface, web page and webhooks."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sam_backend.errors import BadRequestError
from sam_backend.protocol.fields import listing, mapping, number, optional_text, shown, text, whole_number
from sam_backend.protocol.labeling_config import SHAPES as REGION_SHAPES
from sam_backend.protocol.words import Words, parse_words

POLICIES = ("skip", "replace-own", "add")
SHAPES = ("auto", *REGION_SHAPES)
STATES = ("all", "labeled", "unlabeled")
ENGINES = ("local", "ray")
DESCRIPTORS = ("auto", "owlv2", "sam", "classical")
PURPOSES = ("predictions", "embeddings", "regions")
AUTO = "auto"  # with `text`: the best installed detector for these words
EXEMPLARS = "exemplars"
SEGMENTER = "segmenter"
WITHOUT_DETECTOR = ("everything", "boxes", EXEMPLARS)  # all objects, the task's rectangles, what is like examples
CHOICES = {"descriptor": DESCRIPTORS, "shape": SHAPES, "policy": POLICIES, "engine": ENGINES, "purpose": PURPOSES}
LARGEST_ID = 2**63 - 1
MAX_POINTS_PER_SIDE = 256  # 65,536 points
RUN_ID = re.compile(r"[0-9]{6}-[0-9a-f]{6}")  # as `new_run_id` makes them
RENAMED = {"at_most": "max_detections"}  # old field name -> new one


@dataclass(frozen=True)
class TaskFilter:
    """Conditions that a task of the project must meet; all of them hold together."""

    view: int | None = None  # a tab of the Data Manager
    ids: tuple[int, ...] = ()  # only these tasks; empty means all
    state: str = "all"  # one of STATES: a labeled task has as many annotations as the project requires
    without_annotations: bool = False
    without_predictions: bool = False
    sample: int | None = None  # maximum number of tasks, spread evenly

    @classmethod
    def from_json(cls, value: object) -> "TaskFilter":
        """Parse the field `filter`.

        Raises:
            BadRequestError: a condition is unknown or has a wrong value; the message names both.
        """
        given = _known_fields(mapping(value, "filter"), cls, "filter")
        parsed = dict(given)
        if given.get("ids") is not None:
            ids = listing(given["ids"], "filter.ids")
            parsed["ids"] = tuple(whole_number(one, f"filter.ids[{i}]", 1, LARGEST_ID) for i, one in enumerate(ids))
            if not ids:
                raise BadRequestError("filter.ids is empty: no task is selected; leave the field out for all tasks")
        for name, largest in (("view", LARGEST_ID), ("sample", 1_000_000_000)):
            if given.get(name) is not None:
                parsed[name] = whole_number(given[name], f"filter.{name}", 1, largest)
        for name in ("without_annotations", "without_predictions"):
            if name in given:
                parsed[name] = _boolean(given[name], f"filter.{name}")
        if "state" in given:
            parsed["state"] = _one_of(given["state"], "filter.state", STATES)
        return cls(**{name: value for name, value in parsed.items() if value is not None})


@dataclass(frozen=True)
class RunConfiguration:
    """All options of a run.

    `model` and `detector` are names of the registry or, from the command line only, paths of files.
    """

    project: int
    detector: str = "classical"  # a detector, one of WITHOUT_DETECTOR, or with `text` AUTO
    text: str = ""  # words for the objects, such as "cat, red car=Vehicle"; empty: the detector's own classes
    descriptor: str = "auto"  # engine that compares objects with examples, one of DESCRIPTORS; auto: the best installed
    proposals: str = SEGMENTER  # with exemplars, what proposes regions: SEGMENTER, or a detector whose boxes are used
    example_tasks: tuple[int, ...] = ()  # the annotated tasks with the examples; empty: all
    model: str = "auto"  # the segmenter; auto is the one of the service's settings
    score_threshold: float | None = None  # 0..1; None: the tag's model_score_threshold, else 0.25
    label_thresholds: Mapping[str, float] = field(default_factory=dict)  # label -> 0..1, in addition to score_threshold
    label_map: Mapping[str, str] = field(default_factory=dict)  # class of the detector -> label
    iou_threshold: float = 0.7  # 0..1; of two boxes that overlap by more, the one with the higher score is kept
    max_detections: int = 300  # objects per image
    points_per_side: int | None = None  # of the grid of points, with everything; None: 32 with a SAM, 8 with classical
    shape: str = "auto"  # one of SHAPES; auto follows the labeling config's control tags
    calibration: str | None = None  # run whose calibration the scores go through; thresholds are the models' own scores
    policy: str = "skip"  # one of POLICIES, for tasks that have predictions already
    filter: TaskFilter = TaskFilter()
    engine: str = "local"  # one of ENGINES
    ray_address: str | None = None  # None: start Ray on this machine
    ray_workers: int | None = None  # None: one per GPU, else one per CPU except one
    purpose: str = "predictions"  # one of PURPOSES; the others store in SAM_EMBEDDINGS_DIR, without predictions
    show: bool = False  # make the run's predictions the visible ones (project.model_version)

    @classmethod
    def from_json(cls, body: object) -> "RunConfiguration":
        """Parse the body of POST /api/runs, a model's extra parameters, or the result of `to_json`.

        Raises:
            BadRequestError: a field is unknown or renamed, or a value has the wrong type or is out of range; the
                message names field and value.
        """
        given = _known_fields(mapping(body, "the body"), cls, "the body")
        parsed: dict[str, Any] = {"project": whole_number(given.get("project"), "project", 1, LARGEST_ID)}
        for name in ("detector", "model", "proposals"):
            if given.get(name) is not None:
                parsed[name] = text(given[name], name).strip()
                if not parsed[name]:
                    raise BadRequestError(f"{name} is empty: needed: a name such as 'classical'")
        if given.get("text") is not None:
            parsed["text"] = text(given["text"], "text").strip()
            parse_words(parsed["text"])
        if parsed.get("text"):
            parsed.setdefault("detector", AUTO)
            if parsed["detector"] in WITHOUT_DETECTOR:
                raise BadRequestError(f"text: the detector {parsed['detector']!r} finds no words; use 'auto'")
        elif parsed.get("detector") == AUTO:
            raise BadRequestError("detector='auto' needs text, such as 'cat, red car=Vehicle'")
        for name in ("score_threshold", "iou_threshold"):
            if given.get(name) is not None:
                parsed[name] = number(given[name], name, 0, 1)
        for name in ("max_detections", "ray_workers"):
            if given.get(name) is not None:
                parsed[name] = whole_number(given[name], name, 1, 10_000)
        if given.get("points_per_side") is not None:
            parsed["points_per_side"] = whole_number(
                given["points_per_side"], "points_per_side", 1, MAX_POINTS_PER_SIDE
            )
            if parsed.get("detector") != "everything":
                raise BadRequestError("points_per_side is given, but only detector='everything' has a grid of points")
        if given.get("label_thresholds") is not None:
            parsed["label_thresholds"] = {
                label: number(value, f"label_thresholds.{label}", 0, 1)
                for label, value in mapping(given["label_thresholds"], "label_thresholds").items()
            }
        if given.get("label_map") is not None:
            parsed["label_map"] = {
                name: text(label, f"label_map.{name}")
                for name, label in mapping(given["label_map"], "label_map").items()
            }
        if parsed.get("proposals") in (AUTO, *WITHOUT_DETECTOR):
            raise BadRequestError(f"proposals={shown(parsed['proposals'])} is neither {SEGMENTER!r} nor a detector")
        if given.get("example_tasks") is not None:
            tasks = listing(given["example_tasks"], "example_tasks")
            parsed["example_tasks"] = tuple(
                whole_number(one, f"example_tasks[{i}]", 1, LARGEST_ID) for i, one in enumerate(tasks)
            )
        for name, choices in CHOICES.items():
            if given.get(name) is not None:
                parsed[name] = _one_of(given[name], name, choices)
        if given.get("calibration") is not None:
            parsed["calibration"] = text(given["calibration"], "calibration")
            if not RUN_ID.fullmatch(parsed["calibration"]):
                raise BadRequestError(
                    f"calibration={shown(parsed['calibration'])} is not the id of a run, such as 261124-4f3a9c"
                )
        if given.get("filter") is not None:
            parsed["filter"] = TaskFilter.from_json(given["filter"])
        if parsed.get("detector") == EXEMPLARS and "without_annotations" not in (given.get("filter") or {}):
            # annotated tasks are the examples
            parsed["filter"] = replace(parsed.get("filter", TaskFilter()), without_annotations=True)
        if given.get("ray_address") is not None:
            parsed["ray_address"] = optional_text(given["ray_address"], "ray_address")
        if given.get("show") is not None:
            parsed["show"] = _boolean(given["show"], "show")
        return cls(**parsed)

    @classmethod
    def of_project(
        cls, project: int, given: Mapping[str, Any], detector: str | None, shape: str = "auto"
    ) -> "RunConfiguration | None":
        """Return the pre-annotation of opened tasks and *Retrieve Predictions*; None if there is none.

        Args:
            project: its number.
            given: the fields of a run in the project's extra parameters.
            detector: of the settings, for projects whose extra parameters name neither a detector nor words.
            shape: used if the extra parameters have none.

        Raises:
            BadRequestError: as `from_json`.
        """
        if not given.keys() - {"model"} and detector is None:  # the model alone is for the clicks
            return None
        found = cls.from_json({"shape": shape, **given, "project": project})
        if detector is None or "detector" in given or found.text:
            return found
        return replace(found, detector=detector)

    @classmethod
    def from_stored_json(cls, stored: object) -> "RunConfiguration":
        """Parse the configuration in a run's ledger; an earlier version may have written it with the old field names.

        Raises:
            BadRequestError: as `from_json`.
        """
        given = mapping(stored, "the configuration")
        return cls.from_json({RENAMED.get(name, name): value for name, value in given.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` parses into an equal value."""
        return json.loads(json.dumps(asdict(self)), object_hook=_without_empty_ids)  # type: ignore[no-any-return]

    @property
    def words(self) -> tuple[Words, ...]:
        """The descriptions in `text`."""
        return parse_words(self.text)

    @property
    def source_text(self) -> str:
        """What finds the objects, for users, such as `yolov8n`, or `auto for 'cat, red car'`."""
        return f"{self.detector} for {shown(self.text)}" if self.text else Path(self.detector).name

    def with_model(self, name: str) -> "RunConfiguration":
        """Return a copy with the segmenter `name`."""
        return replace(self, model=name)


def describe_opened_tasks(configuration: RunConfiguration | None) -> str:
    """Return what an opened task of a project gets without prompts, for users."""
    if configuration is None:
        return "an opened task gets no predictions, and Retrieve Predictions needs two or more tasks"
    return f"an opened task gets the predictions of {configuration.source_text}"


def _without_empty_ids(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not (name == "ids" and value == [])}


def _known_fields(given: dict[str, Any], kind: type, where: str) -> dict[str, Any]:
    known = {each.name for each in fields(kind)}
    for name in given:
        if name in RENAMED:
            raise BadRequestError(f"{where} has the field {name!r}, which was renamed: use {RENAMED[name]!r}")
        if name not in known:
            raise BadRequestError(f"{where} has an unknown field {shown(name)}; known: {', '.join(sorted(known))}")
    return given


def _one_of(value: object, name: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise BadRequestError(f"{name}={shown(value)} is not one of {', '.join(choices)}")
    return str(value)


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequestError(f"{name}={shown(value)} is neither true nor false")
    return value
