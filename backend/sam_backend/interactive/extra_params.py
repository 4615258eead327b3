"""The extra parameters of a project's connected model: how clicks are answered, and the project's pre-annotation.

They are a JSON object that a user writes under Settings > Model, such as {"sam_output": "polygon", "candidates": 3,
"detector": "yolov8x"}. The fields of `ClickOptions` are for clicks. All others are fields of a run; `model` is both.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

from sam_backend.errors import BadRequestError
from sam_backend.protocol.fields import mapping, shown, whole_number
from sam_backend.protocol.labeling_config import SHAPES

MAX_CANDIDATES = 3  # a segmenter has at most three for one point


@dataclass(frozen=True)
class ClickOptions:
    """How the clicks of a project are answered."""

    sam_output: str | None = None  # one of SHAPES; None follows the labeling config
    candidates: int = 1  # suggestions for a single point, 1 to MAX_CANDIDATES
    each_point_an_object: bool = False  # is each positive point an object of its own?
    refine_regions: bool = False  # does a point inside a region of the task change that region?
    similar: bool = False  # does an answer also hold the other objects of the image that are like the prompted one?
    model: str = "auto"  # that answers, if it is one of SAM_MODELS; otherwise the default model answers

    def with_json(self, given: Mapping[str, Any]) -> "ClickOptions":
        """Return a copy with the fields of these options that a JSON object has.

        Raises:
            BadRequestError: a value has the wrong type or is out of range; the message names field and value.
        """
        changed: dict[str, Any] = {}
        shape = given.get("sam_output")
        if shape is not None:
            if shape not in SHAPES:
                raise BadRequestError(f"sam_output={shown(shape)} is not one of {', '.join(SHAPES)}")
            changed["sam_output"] = shape
        if given.get("candidates") is not None:
            changed["candidates"] = whole_number(given["candidates"], "candidates", 1, MAX_CANDIDATES)
        if given.get("model") is not None:
            if not isinstance(given["model"], str):
                raise BadRequestError(f"model={shown(given['model'])} is not a model's name")
            changed["model"] = given["model"]
        for name in ("each_point_an_object", "refine_regions", "similar"):
            if given.get(name) is not None:
                if not isinstance(given[name], bool):
                    raise BadRequestError(f"{name}={shown(given[name])} is neither true nor false")
                changed[name] = given[name]
        return replace(self, **changed)

    def text(self) -> str:
        """Return the options that differ from the defaults, for users, such as `candidates 3`."""
        parts = [f"sam_output {self.sam_output}"] if self.sam_output else []
        parts += [f"{self.candidates} candidates"] if self.candidates > 1 else []
        parts += ["each point an object"] if self.each_point_an_object else []
        parts += ["points in a region refine it"] if self.refine_regions else []
        parts += ["similar objects too"] if self.similar else []
        return ", ".join(parts)


DEFAULT_OPTIONS = ClickOptions()
CLICK_FIELDS = frozenset(each.name for each in fields(ClickOptions))


@dataclass(frozen=True)
class ExtraParams:
    """The extra parameters of a project: `clicks`, and the fields of a run, which `RunConfiguration` parses."""

    clicks: ClickOptions = DEFAULT_OPTIONS
    run: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(
        cls, stored: bytes, run_fields: Collection[str], defaults: ClickOptions = DEFAULT_OPTIONS
    ) -> "ExtraParams":
        """Parse the JSON text that Label Studio sends; its editor may have stored the text in a JSON string.

        Args:
            stored: JSON text; empty for none.
            run_fields: names of the fields of a run.
            defaults: of the settings.

        Raises:
            BadRequestError: the text is not a JSON object, a field is unknown, or an option of clicks has a wrong
                value; the message names field and value.
        """
        given = mapping(_parsed(stored) or {}, "the object")
        unknown = [name for name in given if name not in CLICK_FIELDS and name not in run_fields]
        if unknown:
            known = ", ".join(sorted({*CLICK_FIELDS, *run_fields}))
            raise BadRequestError(f"the object has an unknown field {shown(unknown[0])}; known: {known}")
        run = {name: value for name, value in given.items() if name in run_fields}
        return cls(defaults.with_json(given), run)


def _parsed(stored: bytes) -> Any:
    try:
        given = orjson.loads(stored) if stored else None
    except orjson.JSONDecodeError as error:  # half of a surrogate pair, which is JSON but not text
        raise BadRequestError(f"not JSON: {error}") from None
    if isinstance(given, str):
        try:
            return json.loads(given) if given.strip() else None
        except ValueError:
            raise BadRequestError(f"{shown(given)} are not JSON") from None
    return given
