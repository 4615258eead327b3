"""The labeling config: its image tags, its control tags, and the field of a task's data with the image.

Source: Label Studio's tag reference. The case of tag names is ignored, as in the editor (label-studio 1.23.2,
web/libs/editor/src/core/Tree.tsx). Files that a config refers to are never opened.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from sam_backend.bounded_cache import BoundedCache
from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.fields import shown

MAX_CONFIG_LENGTH = 256 * 1024  # characters
MAX_NESTING = 200  # elements
SHAPES = ("brush", "bitmask", "polygon", "rectangle", "rotated_rectangle", "ellipse", "vector")  # of regions
MAX_TAGS = 1000  # image and control tags together; choosing a tag for a mask visits all of them
_BYTES_PER_TAG, _BYTES_PER_LABEL = 1000, 200  # estimated memory of a parsed config


@dataclass(frozen=True)
class ObjectTag:
    """An `<Image>` tag; `value` is a field of the task's data with a dollar sign before it, or an address."""

    name: str
    value: str
    is_list: bool

    def sources(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the addresses of this tag's images in a task's data; several for a multi-page item.

        Raises:
            LabelingConfigError: the field is missing, or is not an address.
        """
        if not self.value.startswith("$"):
            return (self.value,)
        name = self.value[1:]
        found = data.get(name)
        if found is None:
            known = ", ".join(sorted(map(str, data))) or "none"
            raise LabelingConfigError(
                f"the task's data has no field {shown(name)}, which <Image name={shown(self.name)}> shows; "
                f"fields: {known[:200]}"
            )
        pages = found if isinstance(found, list) else [found]
        for page in pages:
            if not isinstance(page, str) or not page.strip():
                raise LabelingConfigError(f"data.{name}={shown(page)} is not the address of an image")
        if not pages:
            raise LabelingConfigError(f"data.{name} is an empty list: no image")
        return tuple(pages)


@dataclass(frozen=True)
class ControlTag:
    """A control tag; `kind` is its XML name in lower case, such as `brushlabels`.

    `labels` are the values and aliases of the labels; with `has_dynamic_labels` they are in the task's data instead.
    `label_words` are pairs of a label's value, alias or hint, and the label as Label Studio stores it: the alias, or
    the value. `predicted_values` are pairs of a detector's class and its label. `score_threshold` is the tag's
    `model_score_threshold`, 0..1. `is_smart` says whether the editor offers a smart tool for it. `sam_output` is one of
    `SHAPES`: the shape of the regions for this tag. `is_per_region` says whether it describes a region, not the image.
    """

    kind: str
    name: str
    to_names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    has_dynamic_labels: bool = False
    predicted_values: tuple[tuple[str, str], ...] = ()
    score_threshold: float | None = None
    is_smart: bool = True
    sam_output: str | None = None
    label_words: tuple[tuple[str, str], ...] = ()
    is_per_region: bool = False

    @property
    def takes_words(self) -> bool:
        """Return whether words that are typed into it are a prompt: a smart `<TextArea>` of the whole image."""
        return self.kind == "textarea" and self.is_smart and not self.is_per_region

    def knows(self, labels: tuple[str, ...]) -> bool:
        """Return whether the tag has all of `labels`."""
        return self.has_dynamic_labels or set(labels) <= set(self.labels)


@dataclass(frozen=True)
class LabelingConfig:
    """The tags of a labeling config, in document order."""

    images: tuple[ObjectTag, ...]
    controls: tuple[ControlTag, ...]

    @classmethod
    def from_xml(cls, xml: str) -> "LabelingConfig":
        """Parse a labeling config; recently parsed ones are cached.

        Raises:
            LabelingConfigError: the text is not XML, has entities or a DTD, or exceeds the limits of this module.
        """
        known = _parsed.get(xml)
        if known is None:
            known = _parse(xml)
            labels = sum(len(tag.labels) + len(tag.label_words) + len(tag.predicted_values) for tag in known.controls)
            tags = len(known.images) + len(known.controls)
            _parsed.put(xml, known, 4 * len(xml) + _BYTES_PER_TAG * tags + _BYTES_PER_LABEL * labels)
        return known

    def image(self, name: str | None = None) -> ObjectTag:
        """Return the `<Image>` called `name`, by default the first one.

        Raises:
            LabelingConfigError: there is no such tag.
        """
        for tag in self.images:
            if name is None or tag.name == name:
                return tag
        called = "" if name is None else f" name={name!r}"
        known = ", ".join(tag.name for tag in self.images) or "none"
        raise LabelingConfigError(f"the labeling config has no <Image{called}>; images: {known}")


_parsed: BoundedCache[str, LabelingConfig] = BoundedCache(max_entries=64, max_bytes=16 << 20)


def _parse(xml: str) -> LabelingConfig:
    if len(xml) > MAX_CONFIG_LENGTH:
        raise LabelingConfigError(f"the labeling config has {len(xml)} characters, more than {MAX_CONFIG_LENGTH}")
    tags = _TagCollector()
    try:
        parser = XMLParser(target=tags)
        parser.feed(xml)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelingConfigError(f"could not read the labeling config: not valid XML: {shown(str(error))}") from None
    return LabelingConfig(tuple(tags.images), tuple(control.tag() for control in tags.controls))


@dataclass
class _OpenControl:
    """A control tag whose labels are being read."""

    kind: str
    attributes: dict[str, str]
    labels: dict[str, None] = field(default_factory=dict)
    predicted_values: list[tuple[str, str]] = field(default_factory=list)
    words: list[tuple[str, str]] = field(default_factory=list)

    def tag(self) -> ControlTag:
        return ControlTag(
            kind=self.kind.lower(),
            name=self.attributes["name"],
            to_names=tuple(name.strip() for name in self.attributes["toName"].split(",")),
            labels=tuple(self.labels),
            has_dynamic_labels=self.attributes.get("value", "").startswith("$"),
            predicted_values=tuple(self.predicted_values),
            score_threshold=_score_threshold(self.kind, self.attributes),
            is_smart=self.attributes.get("smart", "true").strip().lower() != "false",
            sam_output=_sam_output(self.kind, self.attributes),
            label_words=tuple(self.words),
            is_per_region=self.attributes.get("perRegion", "false").strip().lower() == "true",
        )


class _TagCollector:
    """Collects the tags while the parser reads them; a label belongs to the innermost control tag around it."""

    def __init__(self) -> None:
        self.images: list[ObjectTag] = []
        self.controls: list[_OpenControl] = []
        self._open: list[_OpenControl | None] = []  # for each open element: the innermost control tag

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        if len(self._open) >= MAX_NESTING:
            raise LabelingConfigError(f"the labeling config is nested deeper than {MAX_NESTING} elements")
        control = self._open[-1] if self._open else None
        kind = name.lower()
        if kind == "image":
            self.images.append(_object_tag(attributes))
        elif kind == "label" and control is not None:
            _add_label(control, attributes)
        if attributes.get("toName") and attributes.get("name"):
            control = _OpenControl(name, attributes)
            self.controls.append(control)
        if len(self.images) + len(self.controls) > MAX_TAGS:
            raise LabelingConfigError(f"the labeling config has more than {MAX_TAGS} image and control tags")
        self._open.append(control)

    def end(self, name: str) -> None:
        """Handle the end of an element."""
        self._open.pop()

    def data(self, text: str) -> None:
        """Ignore text."""

    def close(self) -> None:
        """Do nothing; the parser calls this at the end."""


def _object_tag(attributes: dict[str, str]) -> ObjectTag:
    name = attributes.get("name", "")
    pages = attributes.get("valueList")
    value = pages or attributes.get("value", "")
    if not value.strip():
        raise LabelingConfigError(f"<Image name={shown(name)}> has neither value nor valueList")
    return ObjectTag(name, value.strip(), is_list=pages is not None)


def _add_label(control: _OpenControl, attributes: dict[str, str]) -> None:
    """Add a label's value, alias and hint, and the classes in its `predicted_values`, such as "car,truck"."""
    value, alias = attributes.get("value", ""), attributes.get("alias", "")
    stored = alias or value
    control.labels.update(dict.fromkeys(name for name in (value, alias) if name))
    words = dict.fromkeys(name for name in (value, alias, attributes.get("hint", "")) if name and stored)
    control.words += [(name, stored) for name in words]
    names = (name.strip() for name in attributes.get("predicted_values", "").split(","))
    control.predicted_values += [(name, stored) for name in names if name and stored]


def _score_threshold(kind: str, attributes: dict[str, str]) -> float | None:
    given = attributes.get("model_score_threshold")
    if given is None:
        return None
    try:
        threshold = float(given)
    except ValueError:
        threshold = math.nan
    if not 0 <= threshold <= 1:
        raise LabelingConfigError(
            f"<{kind} name={shown(attributes['name'])}> has model_score_threshold={shown(given)}; expected: 0 to 1"
        )
    return threshold


def _sam_output(kind: str, attributes: dict[str, str]) -> str | None:
    given = attributes.get("sam_output")
    if given is not None and given not in SHAPES:
        raise LabelingConfigError(
            f"<{kind} name={shown(attributes['name'])}> has sam_output={shown(given)}; expected: {', '.join(SHAPES)}"
        )
    return given
