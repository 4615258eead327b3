"""A detector's classes -> the labels of a labeling config.

The label of a class is given by the first of these that has one: the user's label map; the config's `predicted_values`
(as in label-studio-ml's YOLO example); the label of the same name; the label of the same name in another letter case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend.errors import BadRequestError, LabelingConfigError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.protocol.labeling_config import LabelingConfig, MaskTags
from sam_backend.shapes.regions import RegionTarget

PREFERRED_SHAPES = ("brush", "bitmask", "polygon", "rectangle")  # the first two are exact masks
DEFAULT_SCORE_THRESHOLD = 0.25
ANY_OBJECT = "object"  # the class of all masks of segment everything
MAX_LISTED_NAMES = 12  # in a message


@dataclass(frozen=True)
class Target(RegionTarget):
    """Where the regions of a label go, and the minimum score of their objects."""

    score_threshold: float


@dataclass(frozen=True)
class MappingReport:
    """The labels of the detector's classes, for users before a run starts."""

    mapped: tuple[tuple[str, str], ...]  # class, label
    labels_without_class: tuple[str, ...]
    dropped_classes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the answer of GET /api/runs/mapping."""
        return {
            "mapped": dict(self.mapped),
            "labels_without_class": list(self.labels_without_class),
            "dropped_classes": list(self.dropped_classes),
        }

    def lines(self) -> list[str]:
        """Return up to three lines for a terminal."""
        mapped = [
            name if name == label else f"{name} as {label or 'a region without label'}" for name, label in self.mapped
        ]
        lines = [f"labels: {_listed(mapped) or 'none'}"]
        if self.labels_without_class:
            lines.append(f"labels without a class: {_listed(self.labels_without_class)}")
        if self.dropped_classes:
            lines.append(f"classes without a label: {_listed(self.dropped_classes)}")
        return lines


@dataclass(frozen=True)
class LabelMapping:
    """The targets of a run in one labeling config; `to_name` is the image tag that is annotated."""

    config: LabelingConfig
    configuration: RunConfiguration
    to_name: str
    targets: dict[str, Target]  # class, as the detector spells it -> target
    report: MappingReport

    @classmethod
    def of(cls, config: LabelingConfig, class_names: Sequence[str], configuration: RunConfiguration) -> "LabelMapping":
        """Match a detector's classes with a config's labels.

        Raises:
            LabelingConfigError: no control tag takes regions of the configured shape, or no class has a label.
            BadRequestError: the label map has an unknown class or label.
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
                f"no class of the detector ({_listed(class_names)}) is a label of the config ({_listed(labels)}): "
                "add a label map such as --map car=Vehicle, or predicted_values to the labels"
            )
        return cls(config, configuration, to_name, targets, report)

    def for_labels(self, labels: tuple[str, ...]) -> Target | None:
        """Return the target of a mask that has labels already; None if the config does not have them."""
        _, tags = _usable_tags(self.config, self.configuration.shape)
        for label in labels or ("",):
            if label in _labels_of(tags) or not label:
                return _target(self.config, tags, self.to_name, label, self.configuration)
        return None


def _usable_tags(config: LabelingConfig, shape: str) -> tuple[str, list[tuple[str, MaskTags]]]:
    """Return the first image tag with usable control tags, and these as (shape, tags), preferred shapes first."""
    shapes = PREFERRED_SHAPES if shape == "auto" else (shape,)
    for image in config.images or (config.image(),):
        found = [(each, tags) for each in shapes for tags in config.tags_for_shape(each, image.name)]
        if found:
            return image.name, found
    wanted = " or ".join(f"<{each.capitalize()}Labels>" for each in shapes)
    raise LabelingConfigError(f"the labeling config has no {wanted} for an image: add one for the regions")


def _labels_of(tags: Iterable[tuple[str, MaskTags]]) -> tuple[str, ...]:
    every = (label for _, each in tags for tag in (each.mask, each.labels) if tag for label in tag.labels)
    return tuple(dict.fromkeys(every))


def _has_dynamic_labels(tags: Iterable[tuple[str, MaskTags]]) -> bool:
    return any(tag.has_dynamic_labels for _, each in tags for tag in (each.mask, each.labels) if tag)


def _label_for(
    name: str, tags: list[tuple[str, MaskTags]], labels: tuple[str, ...], configuration: RunConfiguration
) -> str | None:
    """Return the label of a class; `""` for regions without label, None for no regions."""
    label_map = {given.casefold(): label for given, label in configuration.label_map.items()}
    if name.casefold() in label_map:
        return label_map[name.casefold()]
    carriers = [tag for _, each in tags for tag in (each.mask, each.labels) if tag]
    predicted = [pair for tag in carriers for pair in tag.predicted_values]
    for pairs in (predicted, [(label, label) for label in labels]):
        exact = next((label for given, label in pairs if given == name), None)
        in_any_case = next((label for given, label in pairs if given.casefold() == name.casefold()), None)
        if exact or in_any_case:
            return exact or in_any_case
    if not labels and _has_dynamic_labels(tags):
        return name
    if name == ANY_OBJECT and len(labels) == 1:
        return labels[0]
    is_unlabelled_possible = any(not each.mask.kind.endswith("labels") for _, each in tags)
    return "" if is_unlabelled_possible and (name == ANY_OBJECT or not labels) else None


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
            raise BadRequestError(
                f"label_map.{name}: the detector has no class {name!r}; it has {_listed(class_names)}"
            )
        if label not in labels and not _has_dynamic_labels(tags):
            raise BadRequestError(f"label_map.{name}={label!r} is not a label of the config; it has {_listed(labels)}")
    for label in configuration.label_thresholds:
        if label not in labels and not _has_dynamic_labels(tags):
            raise BadRequestError(f"label_thresholds.{label}: the config has no such label; it has {_listed(labels)}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    return ", ".join(names[:MAX_LISTED_NAMES]) + more
