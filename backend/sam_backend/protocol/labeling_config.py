"""The labeling config: which tags there are, what they name, and where the image stands in a task's data.

Source: Label Studio's tag reference; tag names compare without case, as the editor does (label-studio 1.23.2,
web/libs/editor/src/core/Tree.tsx). Only XML is read: no file that a config names is ever opened.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.fields import shown

LONGEST_CONFIG = 1_000_000  # characters


@dataclass(frozen=True)
class ObjectTag:
    """An `<Image>`: `value` or `valueList` names a field of the task's data, with a dollar sign."""

    name: str
    value: str
    is_list: bool

    def sources(self, data: dict[str, Any]) -> tuple[str, ...]:
        """The addresses of this tag's images in a task's data; several for a multi-page item.

        Raises:
            LabelingConfigError: the data lack the field, or hold something that is no address.
        """
        if not self.value.startswith("$"):
            return (self.value,)
        field = self.value[1:]
        found = data.get(field)
        if found is None:
            known = ", ".join(sorted(map(str, data))) or "none"
            raise LabelingConfigError(
                f"the task's data have no field {field!r}, which <Image name={self.name!r}> shows; "
                f"fields: {known[:200]}"
            )
        pages = found if isinstance(found, list) else [found]
        for page in pages:
            if not isinstance(page, str) or not page.strip():
                raise LabelingConfigError(f"data.{field} holds {shown(page)}, which is no address of an image")
        if not pages:
            raise LabelingConfigError(f"data.{field} is an empty list: there is no image")
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
            LabelingConfigError: no XML, or XML with entities or other tricks.
        """
        return _parse(xml)

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
        pairs = [
            MaskTags(brush, tag) for brush in brushes for tag in sorted(named, key=lambda tag: tag.name != palette)
        ]
        knowing = [MaskTags(tag) for tag in brush_labels if tag.knows(labels)]
        preferred = pairs + knowing if palette is not None else knowing + pairs
        for tags in preferred + [MaskTags(tag) for tag in brush_labels + brushes]:
            return tags
        raise LabelingConfigError(
            f"the labeling config has no <BrushLabels> and no <Brush> with toName={to_name!r}: "
            "there is nowhere to put a mask"
        )


@lru_cache(maxsize=64)
def _parse(xml: str) -> LabelingConfig:
    if len(xml) > LONGEST_CONFIG:
        raise LabelingConfigError(f"the labeling config is {len(xml)} characters long, more than {LONGEST_CONFIG}")
    try:
        root = fromstring(xml)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelingConfigError(f"the labeling config is not XML that can be read: {shown(str(error))}") from None
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    return LabelingConfig(
        images=tuple(_object_tag(element) for element in elements if element.tag.lower() == "image"),
        controls=tuple(_control_tag(element) for element in elements if element.get("toName") and element.get("name")),
    )


def _object_tag(element: Element) -> ObjectTag:
    name = element.get("name") or ""
    pages = element.get("valueList")
    value = pages or element.get("value") or ""
    if not value.strip():
        raise LabelingConfigError(f"<Image name={name!r}> has neither value nor valueList")
    return ObjectTag(name, value.strip(), is_list=pages is not None)


def _control_tag(element: Element) -> ControlTag:
    labels = [label for label in element.iter() if isinstance(label.tag, str) and label.tag.lower() == "label"]
    names = [name for label in labels for name in (label.get("value"), label.get("alias")) if name]
    return ControlTag(
        kind=str(element.tag).lower(),
        name=element.get("name") or "",
        to_names=tuple(name.strip() for name in (element.get("toName") or "").split(",")),
        labels=tuple(dict.fromkeys(names)),
        has_dynamic_labels=(element.get("value") or "").startswith("$"),
        predicted_values=tuple(pair for label in labels for pair in _predicted_values(label)),
        score_threshold=_score_threshold(element),
    )


def _predicted_values(label: Element) -> list[tuple[str, str]]:
    """A label's `predicted_values="car,truck"`: the classes that become it."""
    names = [name.strip() for name in (label.get("predicted_values") or "").split(",")]
    return [(name, label.get("value") or "") for name in names if name and label.get("value")]


def _score_threshold(element: Element) -> float | None:
    given = element.get("model_score_threshold")
    if given is None:
        return None
    try:
        threshold = float(given)
    except ValueError:
        threshold = math.nan
    if not 0 <= threshold <= 1:
        raise LabelingConfigError(
            f"<{element.tag} name={element.get('name')!r}> has model_score_threshold={given!r}; needed: 0 to 1"
        )
    return threshold
