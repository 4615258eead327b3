"""The labeling config: which tags there are, what they name, and where the image stands in a task's data.

Source: Label Studio's tag reference; tag names compare without case, as the editor does (label-studio 1.23.2,
web/libs/editor/src/core/Tree.tsx). Only XML is read: no file that a config names is ever opened.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from sam_backend.bounded_cache import BoundedCache
from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.fields import shown

LONGEST_CONFIG = 256 * 1024  # characters
DEEPEST_NESTING = 200  # elements
MAX_TAGS = 1000  # image and control tags together; a choice of tags for a mask looks at all of them
_BYTES_PER_TAG, _BYTES_PER_LABEL = 1000, 200  # of a parsed config in memory, roughly


@dataclass(frozen=True)
class ObjectTag:
    """An `<Image>`: `value` or `valueList` names a field of the task's data, with a dollar sign."""

    name: str
    value: str
    is_list: bool

    def sources(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        """The addresses of this tag's images in a task's data; several for a multi-page item.

        Raises:
            LabelingConfigError: the data lack the field, or hold something that is no address.
        """
        if not self.value.startswith("$"):
            return (self.value,)
        name = self.value[1:]
        found = data.get(name)
        if found is None:
            known = ", ".join(sorted(map(str, data))) or "none"
            raise LabelingConfigError(
                f"the task's data have no field {shown(name)}, which <Image name={shown(self.name)}> shows; "
                f"fields: {known[:200]}"
            )
        pages = found if isinstance(found, list) else [found]
        for page in pages:
            if not isinstance(page, str) or not page.strip():
                raise LabelingConfigError(f"data.{name} holds {shown(page)}, which is no address of an image")
        if not pages:
            raise LabelingConfigError(f"data.{name} is an empty list: there is no image")
        return tuple(pages)


@dataclass(frozen=True)
class ControlTag:
    """A tag that draws or labels; `kind` is its XML name in lower case, such as `brushlabels`.

    `labels` holds the labels' values and aliases; with `has_dynamic_labels` they come from the task's data instead.
    `predicted_values` are pairs of a detector's class and the label that the config gives it; `score_threshold` is the
    tag's `model_score_threshold`, 0..1.
    """

    kind: str
    name: str
    to_names: tuple[str, ...]
    labels: tuple[str, ...] = ()
    has_dynamic_labels: bool = False
    predicted_values: tuple[tuple[str, str], ...] = ()
    score_threshold: float | None = None

    def knows(self, labels: tuple[str, ...]) -> bool:
        """Whether every one of `labels` can be given with this tag."""
        return self.has_dynamic_labels or set(labels) <= set(self.labels)


@dataclass(frozen=True)
class MaskTags:
    """Where a mask goes: the tag `mask`, and the palette `labels` beside it where that tag has no labels itself."""

    mask: ControlTag
    labels: ControlTag | None = None


@dataclass(frozen=True)
class LabelingConfig:
    """The tags of one labeling config, in the order they stand in."""

    images: tuple[ObjectTag, ...]
    controls: tuple[ControlTag, ...]

    @classmethod
    def from_xml(cls, xml: str) -> "LabelingConfig":
        """Parse a labeling config; the same text is parsed once.

        Raises:
            LabelingConfigError: no XML, XML with entities or other tricks, or more of it than a config has.
        """
        known = _parsed.get(xml)
        if known is None:
            known = _parse(xml)
            labels = sum(len(tag.labels) + len(tag.predicted_values) for tag in known.controls)
            tags = len(known.images) + len(known.controls)
            _parsed.put(xml, known, 4 * len(xml) + _BYTES_PER_TAG * tags + _BYTES_PER_LABEL * labels)
        return known

    def image(self, name: str | None = None) -> ObjectTag:
        """The `<Image>` called `name`, or the only or first one where no name is given.

        Raises:
            LabelingConfigError: there is none.
        """
        for tag in self.images:
            if name is None or tag.name == name:
                return tag
        called = "" if name is None else f" name={name!r}"
        known = ", ".join(tag.name for tag in self.images) or "none"
        raise LabelingConfigError(f"the labeling config has no <Image{called}>; images: {known}")

    def tags_for_shape(self, shape: str, to_name: str) -> tuple[MaskTags, ...]:
        """Where regions of a shape (`brush`, `polygon`, `rectangle`, `bitmask`) of the image `to_name` can go.

        Tags with labels of their own come first, then plain ones, with each palette and alone.
        """
        here = [tag for tag in self.controls if to_name in tag.to_names]
        own = [MaskTags(tag) for tag in here if tag.kind == f"{shape}labels"]
        plain = [tag for tag in here if tag.kind == shape]
        palettes = [tag for tag in here if tag.kind == "labels"]
        pairs = [MaskTags(tag, palette) for tag in plain for palette in palettes]
        return (*own, *pairs, *(MaskTags(tag) for tag in plain))

    def mask_tags(self, to_name: str, labels: tuple[str, ...], palette: str | None) -> MaskTags:
        """Where to send a mask of the image `to_name` with `labels`.

        A prompt that a `<Labels>` palette named goes to `<Brush>` and that palette; one from `<KeyPointLabels>` or
        `<RectangleLabels>` to the `<BrushLabels>` that has its labels. If the config has only the other pair, that one
        is taken, and a `<BrushLabels>` without the label still beats no mask: the editor keeps the label as it is.

        Raises:
            LabelingConfigError: no brush for this image.
        """
        here = [tag for tag in self.controls if to_name in tag.to_names]
        brush_labels = [tag for tag in here if tag.kind == "brushlabels"]
        brushes = [tag for tag in here if tag.kind == "brush"]
        palettes = [tag for tag in here if tag.kind == "labels"]
        named = [tag for tag in palettes if tag.name == palette or (labels and tag.knows(labels))]
        nearest = next((tag for tag in named if tag.name == palette), next(iter(named), None))
        pairs = [MaskTags(brushes[0], nearest)] if brushes and nearest is not None else []
        knowing = (MaskTags(tag) for tag in brush_labels if tag.knows(labels))
        preferred = chain(pairs, knowing) if palette is not None else chain(knowing, pairs)
        for tags in chain(preferred, (MaskTags(tag) for tag in brush_labels + brushes)):
            return tags
        raise LabelingConfigError(
            f"the labeling config has no <BrushLabels> and no <Brush> with toName={to_name!r}: "
            "there is nowhere to put a mask"
        )


_parsed: BoundedCache[str, LabelingConfig] = BoundedCache(max_entries=64, max_bytes=16 << 20)


def _parse(xml: str) -> LabelingConfig:
    if len(xml) > LONGEST_CONFIG:
        raise LabelingConfigError(f"the labeling config is {len(xml)} characters long, more than {LONGEST_CONFIG}")
    tags = _TagCollector()
    try:
        parser = XMLParser(target=tags)
        parser.feed(xml)
        parser.close()
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelingConfigError(f"the labeling config is not XML that can be read: {shown(str(error))}") from None
    return LabelingConfig(tuple(tags.images), tuple(control.tag() for control in tags.controls))


@dataclass
class _OpenControl:
    """A control tag whose labels are still being read."""

    kind: str
    attributes: dict[str, str]
    labels: dict[str, None] = field(default_factory=dict)
    predicted_values: list[tuple[str, str]] = field(default_factory=list)

    def tag(self) -> ControlTag:
        return ControlTag(
            kind=self.kind.lower(),
            name=self.attributes["name"],
            to_names=tuple(name.strip() for name in self.attributes["toName"].split(",")),
            labels=tuple(self.labels),
            has_dynamic_labels=self.attributes.get("value", "").startswith("$"),
            predicted_values=tuple(self.predicted_values),
            score_threshold=_score_threshold(self.kind, self.attributes),
        )


class _TagCollector:
    """Collects the tags in one pass, as the parser meets them; a label belongs to the control tag nearest around it."""

    def __init__(self) -> None:
        self.images: list[ObjectTag] = []
        self.controls: list[_OpenControl] = []
        self._open: list[_OpenControl | None] = []  # per element around this one: the control tag that it is or is in

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Note an element that begins."""
        if len(self._open) >= DEEPEST_NESTING:
            raise LabelingConfigError(f"the labeling config is nested deeper than {DEEPEST_NESTING} elements")
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
        """Note that an element ends."""
        self._open.pop()

    def data(self, text: str) -> None:
        """Pass over text."""

    def close(self) -> None:
        """End; the parser calls this."""


def _object_tag(attributes: dict[str, str]) -> ObjectTag:
    name = attributes.get("name", "")
    pages = attributes.get("valueList")
    value = pages or attributes.get("value", "")
    if not value.strip():
        raise LabelingConfigError(f"<Image name={shown(name)}> has neither value nor valueList")
    return ObjectTag(name, value.strip(), is_list=pages is not None)


def _add_label(control: _OpenControl, attributes: dict[str, str]) -> None:
    """Add a label's value and alias, and its `predicted_values="car,truck"`: the classes that become it."""
    value = attributes.get("value", "")
    control.labels.update(dict.fromkeys(name for name in (value, attributes.get("alias")) if name))
    names = (name.strip() for name in attributes.get("predicted_values", "").split(","))
    control.predicted_values += [(name, value) for name in names if name and value]


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
            f"<{kind} name={shown(attributes['name'])}> has model_score_threshold={shown(given)}; needed: 0 to 1"
        )
    return threshold
