"""A detector's classes -> the labels of a labeling config: which class becomes what, and what is left over.

A class finds its label by the user's map, then the config's `predicted_values` (label-studio-ml's YOLO example calls
them so), then its very name, then its name in any letter case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend.errors import BadRequestError, LabelingConfigError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.protocol.labeling_config import LabelingConfig, MaskTags

PREFERRED = ("brush", "bitmask", "polygon", "rectangle")  # the first loses nothing of a mask
DEFAULT_SCORE_THRESHOLD = 0.25
THING = "object"  # the class of what has none: masks of segment everything
FEW = 12  # names that a line lists


@dataclass(frozen=True)
class Target:
    """Where regions of one label go."""

    shape: str  # one of PREFERRED
    tags: MaskTags
    to_name: str
    labels: tuple[str, ...]  # one, or none where the tag needs none
    score_threshold: float


@dataclass(frozen=True)
class MappingReport:
    """What a run will do with the detector's classes; for people, before it starts."""

    mapped: tuple[tuple[str, str], ...]  # class, label
    labels_without_class: tuple[str, ...]
    dropped_classes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As GET /api/runs/mapping answers."""
        return {
            "mapped": dict(self.mapped),
            "labels_without_class": list(self.labels_without_class),
            "dropped_classes": list(self.dropped_classes),
        }

    def lines(self) -> list[str]:
        """Up to three lines for a terminal."""
        mapped = [
            name if name == label else f"{name} as {label or 'a region without label'}" for name, label in self.mapped
        ]
        lines = [f"labels: {_few(mapped) or 'none'}"]
        if self.labels_without_class:
            lines.append(f"nothing for: {_few(self.labels_without_class)}")
        if self.dropped_classes:
            lines.append(f"dropped classes: {_few(self.dropped_classes)}")
        return lines


@dataclass(frozen=True)
class LabelMapping:
    """The targets of a run in one labeling config; `to_name` is the image that is annotated."""

    config: LabelingConfig
    configuration: RunConfiguration
    to_name: str
    targets: dict[str, Target]  # class of the detector, in its own spelling -> target
    report: MappingReport

    @classmethod
    def of(cls, config: LabelingConfig, class_names: Sequence[str], configuration: RunConfiguration) -> "LabelMapping":
        """Match a detector's classes with a config's labels.

        Raises:
            LabelingConfigError: no control tag can take a region of the shape asked for, or none of the classes.
            BadRequestError: the map names a class or a label that is not there.
        """
        to_name, tags = _usable_tags(config, configuration.shape)
        labels = _labels_of(tags)
        _check_names(configuration, class_names, labels, tags)
        found = {name: _label_for(name, tags, labels, configuration) for name in class_names}
        targets = {
            name: _target(config, tags, to_name, label, configuration)
            for name, label in found.items()
            if label is not None
        }
        given = {label for target in targets.values() for label in target.labels}
        report = MappingReport(
            mapped=tuple((name, "".join(target.labels)) for name, target in targets.items()),
            labels_without_class=tuple(label for label in labels if label not in given),
            dropped_classes=tuple(name for name in class_names if name not in targets),
        )
        if class_names and not targets:
            raise LabelingConfigError(
                f"none of the detector's classes ({_few(class_names)}) is a label of the config ({_few(labels)}); "
                "give the map, as in --map car=Vehicle, or predicted_values in the labels"
            )
        return cls(config, configuration, to_name, targets, report)

    def for_labels(self, labels: tuple[str, ...]) -> Target | None:
        """Where a mask goes that already has its labels; None where the config does not know them."""
        _, tags = _usable_tags(self.config, self.configuration.shape)
        for label in labels or ("",):
            if label in _labels_of(tags) or not label:
                return _target(self.config, tags, self.to_name, label, self.configuration)
        return None


def _usable_tags(config: LabelingConfig, shape: str) -> tuple[str, list[tuple[str, MaskTags]]]:
    """The first image that regions can go to, and where: pairs of shape and tags, the preferred first."""
    shapes = PREFERRED if shape == "auto" else (shape,)
    for image in config.images or (config.image(),):
        found = [(each, tags) for each in shapes for tags in config.tags_for_shape(each, image.name)]
        if found:
            return image.name, found
    wanted = " or ".join(f"<{each.capitalize()}Labels>" for each in shapes)
    raise LabelingConfigError(f"the labeling config has no {wanted} for an image: there is nowhere to put a region")


def _labels_of(tags: Iterable[tuple[str, MaskTags]]) -> tuple[str, ...]:
    every = (label for _, each in tags for tag in (each.mask, each.labels) if tag for label in tag.labels)
    return tuple(dict.fromkeys(every))


def _has_dynamic_labels(tags: Iterable[tuple[str, MaskTags]]) -> bool:
    return any(tag.has_dynamic_labels for _, each in tags for tag in (each.mask, each.labels) if tag)


def _label_for(
    name: str, tags: list[tuple[str, MaskTags]], labels: tuple[str, ...], configuration: RunConfiguration
) -> str | None:
    """The label of a class; `""` is a region without label, None no region."""
    own_map = {given.casefold(): label for given, label in configuration.label_map.items()}
    if name.casefold() in own_map:
        return own_map[name.casefold()]
    own_tags = [tag for _, each in tags for tag in (each.mask, each.labels) if tag]
    predicted = [pair for tag in own_tags for pair in tag.predicted_values]
    for pairs in (predicted, [(label, label) for label in labels]):
        exact = next((label for given, label in pairs if given == name), None)
        in_any_case = next((label for given, label in pairs if given.casefold() == name.casefold()), None)
        if exact or in_any_case:
            return exact or in_any_case
    if not labels and _has_dynamic_labels(tags):
        return name
    if name == THING and len(labels) == 1:
        return labels[0]
    is_unlabelled_possible = any(not each.mask.kind.endswith("labels") for _, each in tags)
    return "" if is_unlabelled_possible and (name == THING or not labels) else None


def _target(
    config: LabelingConfig, tags: list[tuple[str, MaskTags]], to_name: str, label: str, configuration: RunConfiguration
) -> Target:
    def takes(each: MaskTags) -> bool:
        if not label:
            return not each.mask.kind.endswith("labels") and each.labels is None
        carrier = each.labels or each.mask
        return carrier.knows((label,))

    shape, chosen = next(((shape, each) for shape, each in tags if takes(each)), tags[0])
    carriers = [tag for tag in (chosen.labels, chosen.mask) if tag]
    of_tag = next((tag.score_threshold for tag in carriers if tag.score_threshold is not None), None)
    thresholds = (configuration.label_thresholds.get(label), configuration.score_threshold, of_tag)
    threshold = next((value for value in thresholds if value is not None), DEFAULT_SCORE_THRESHOLD)
    return Target(shape, chosen, to_name, (label,) if label else (), threshold)


def _check_names(
    configuration: RunConfiguration,
    class_names: Sequence[str],
    labels: tuple[str, ...],
    tags: list[tuple[str, MaskTags]],
) -> None:
    known = {name.casefold() for name in class_names}
    for name, label in configuration.label_map.items():
        if class_names and name.casefold() not in known:
            raise BadRequestError(f"label_map.{name}: the detector has no class {name!r}; it has {_few(class_names)}")
        if label not in labels and not _has_dynamic_labels(tags):
            raise BadRequestError(f"label_map.{name}={label!r} is no label of the config; it has {_few(labels)}")
    for label in configuration.label_thresholds:
        if label not in labels and not _has_dynamic_labels(tags):
            raise BadRequestError(f"label_thresholds.{label}: the config has no such label; it has {_few(labels)}")


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
