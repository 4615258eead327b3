"""The control tags that take the regions of a label, and the shape of these regions; the same for clicks and runs.

The tag that has the label takes the regions, the first one of the labeling config if several have it. A rectangle tag
with a smart tool is also a prompt. So it takes regions only if no other tag has the label.

The attribute `sam_output` of a tag selects the shape: of the tag with which a prompt was drawn, otherwise of the first
tag that has the label and could take its regions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import SHAPES, ControlTag, LabelingConfig


@dataclass(frozen=True)
class MaskTags:
    """The control tag of a region, and the `<Labels>` palette of its labels if that tag has no labels of its own."""

    mask: ControlTag
    labels: ControlTag | None = None

    @property
    def is_prompt(self) -> bool:
        """Return whether the editor sends the regions that are drawn with this tag as prompts."""
        return self.mask.kind.startswith("rectangle") and self.mask.is_smart

    def have(self, labels: tuple[str, ...]) -> bool:
        """Return whether regions with `labels` keep them; for no labels, whether regions need none."""
        if self.labels is not None:
            return bool(labels) and self.labels.knows(labels)
        if self.mask.kind.endswith("labels"):
            return self.mask.knows(labels)
        return not labels


@dataclass(frozen=True)
class RegionTarget:
    """The control tags that take the regions of a label, and their shape."""

    shape: str  # one of SHAPES
    tags: MaskTags
    to_name: str
    labels: tuple[str, ...]  # one, or none where the tag needs none


@dataclass(frozen=True)
class PromptTags:
    """What a prompt says about its regions: its labels, its control tag, and the `<Labels>` palette of its labels."""

    labels: tuple[str, ...] = ()
    tag: str | None = None
    palette: str | None = None


def possible_targets(config: LabelingConfig, to_name: str, shape: str | None = None) -> list[RegionTarget]:
    """Return targets without labels for the regions of an image tag, the preferred ones first.

    Args:
        config: the labeling config.
        to_name: the image tag.
        shape: only this one of `SHAPES`; None for all.
    """
    here = [tag for tag in config.controls if to_name in tag.to_names]
    palettes = [tag for tag in here if tag.kind == "labels"]
    found = []
    for tag in here:
        kind = tag.kind.removesuffix("labels")
        if kind not in SHAPES or (shape is not None and kind != tag_kind(shape)):
            continue
        choices = [MaskTags(tag)]
        if tag.kind == kind:  # a plain tag
            choices = [*(MaskTags(tag, palette) for palette in palettes), *choices]
        found += [RegionTarget(shape or kind, tags, to_name, ()) for tags in choices]
    return sorted(found, key=lambda target: target.tags.is_prompt)


def click_target(
    config: LabelingConfig, to_name: str, prompt: PromptTags, project_shape: str | None = None
) -> RegionTarget:
    """Return the target for the answer to a prompt on the image `to_name`.

    A prompt with a label of a `<Labels>` palette prefers plain tags beside that palette; one of `<KeyPointLabels>` or
    `<RectangleLabels>` prefers tags with labels of their own. If no tag has the label, the region goes to a tag without
    it, which the editor accepts.

    Args:
        config: the labeling config.
        to_name: the image tag.
        prompt: its labels and tags.
        project_shape: of the project's extra parameters; a tag's `sam_output` takes precedence.

    Raises:
        LabelingConfigError: no tag of the image takes regions, or none takes the selected shape.
    """

    def rank(target: RegionTarget) -> tuple[bool, ...]:
        tags = target.tags
        has_labels = tags.have(prompt.labels) or (tags.labels is not None and tags.labels.name == prompt.palette)
        is_other_kind = (tags.labels is None) == (prompt.palette is not None)
        is_other_palette = tags.labels is not None and tags.labels.name != prompt.palette
        return not has_labels, tags.is_prompt, is_other_kind, is_other_palette

    drawn_with = (tag for tag in config.controls if tag.name in (prompt.tag, prompt.palette))
    forced = next((tag.sam_output for tag in drawn_with if tag.sam_output is not None), None)
    ranked = sorted(possible_targets(config, to_name), key=rank)
    if forced is None:
        forced = _output_of(target for target in ranked if not rank(target)[0]) or project_shape
    if forced is not None:
        ranked = sorted(possible_targets(config, to_name, forced), key=rank)
    if not ranked:
        raise LabelingConfigError(_no_target(to_name, forced))
    return replace(ranked[0], labels=prompt.labels)


def label_targets(config: LabelingConfig, to_name: str, labels: tuple[str, ...]) -> list[RegionTarget]:
    """Return targets for the regions of a run with `labels`, the preferred ones first, as for a click.

    Raises:
        LabelingConfigError: a tag's `sam_output` selects a shape that no tag of the image takes.
    """
    every = possible_targets(config, to_name)
    forced = _output_of(target for target in every if target.tags.have(labels))
    if forced is None:
        return every
    found = possible_targets(config, to_name, forced)
    if not found:
        raise LabelingConfigError(_no_target(to_name, forced))
    return found


def label_tags(targets: Iterable[RegionTarget]) -> list[ControlTag]:
    """Return the control tags that have the labels of targets: their own tags and their palettes, without repeats."""
    tags = (tag for each in targets for tag in (each.tags.mask, each.tags.labels) if tag is not None)
    return list({tag.name: tag for tag in tags}.values())


def _output_of(targets: Iterable[RegionTarget]) -> str | None:
    """Return the first `sam_output` among the tags of targets."""
    return next((tag.sam_output for tag in label_tags(targets) if tag.sam_output is not None), None)


def _no_target(to_name: str, shape: str | None) -> str:
    if shape is None:
        wanted = ", ".join(tag_name(each) for each in SHAPES if each == tag_kind(each))
        return f"the labeling config has no tag for regions with toName={to_name!r}: add one of {wanted}"
    name = tag_name(shape)
    return (
        f"sam_output={shape!r}: the labeling config has no {name} and no {name.replace('Labels', '')} with "
        f"toName={to_name!r}: add one, or change sam_output"
    )


def tag_kind(shape: str) -> str:
    """Return the kind of the plain control tag for one of `SHAPES`."""
    return "rectangle" if shape == "rotated_rectangle" else shape


def tag_name(shape: str) -> str:
    """Return the tag with labels of its own for one of `SHAPES`, such as `<BrushLabels>`."""
    return f"<{tag_kind(shape).capitalize()}Labels>"
