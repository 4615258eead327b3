"""Which regions the clicks of a project get, in words."""

from collections.abc import Iterator

from sam_backend.protocol.labeling_config import SHAPES, ControlTag, LabelingConfig
from sam_backend.shapes.targets import PromptTags, click_target

MAX_LABELS = 6  # in the text


def describe_click_shapes(config: LabelingConfig, project_shape: str | None = None) -> str:
    """Return the shapes for the labels of the prompts, such as `polygon for Cat, Dog; rectangle for Car`.

    Without smart points and rectangles, the text says that there are none.

    Args:
        config: the labeling config.
        project_shape: the `sam_output` of the project's extra parameters.

    Raises:
        LabelingConfigError: a click cannot be answered.
    """
    labels_of: dict[str, dict[str, None]] = {}
    for to_name, prompt in _prompts(config):
        target = click_target(config, to_name, prompt, project_shape)
        labels_of.setdefault(target.shape, {}).update(dict.fromkeys(prompt.labels))
    if not labels_of:
        return "no smart point and no smart rectangle"
    if len(labels_of) == 1:
        return next(iter(labels_of))
    by_shape = sorted(labels_of.items(), key=lambda item: SHAPES.index(item[0]))
    return "; ".join(f"{shape} for {_listed(list(labels))}" for shape, labels in by_shape)


def _prompts(config: LabelingConfig) -> Iterator[tuple[str, PromptTags]]:
    """Yield an image tag and one label for each prompt that the editor can send."""
    for tag in config.controls:
        kind = tag.kind.removesuffix("labels")
        if kind not in ("keypoint", "rectangle") or not tag.is_smart:
            continue
        for to_name in tag.to_names:
            if tag.kind != kind:
                yield from ((to_name, PromptTags((label,), tag.name)) for label in _labels(tag))
                continue
            palettes = [each for each in config.controls if each.kind == "labels" and to_name in each.to_names]
            for palette in palettes:
                yield from ((to_name, PromptTags((label,), tag.name, palette.name)) for label in _labels(palette))
            if not palettes:
                yield to_name, PromptTags((), tag.name)


def _labels(tag: ControlTag) -> tuple[str, ...]:
    return tag.labels or ("any label",)


def _listed(labels: list[str]) -> str:
    more = f" and {len(labels) - MAX_LABELS} more" if len(labels) > MAX_LABELS else ""
    return (", ".join(labels[:MAX_LABELS]) or "regions without label") + more
