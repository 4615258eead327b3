"""A detector's classes -> the labels of a labeling config.

The label of a class is given by the first of these that has one: the user's label map; the config's `predicted_values`
(as in label-studio-ml's YOLO example); the label with this value, alias or hint; the same in another letter case. A
label with an alias is stored by its alias.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sam_backend.errors import BadRequestError, LabelingConfigError
from sam_backend.preannotation.configuration import EXEMPLARS, RunConfiguration
from sam_backend.protocol.labeling_config import SHAPES, LabelingConfig
from sam_backend.protocol.words import label_of_words
from sam_backend.shapes.targets import RegionTarget, label_tags, label_targets, possible_targets, tag_name

DEFAULT_SCORE_THRESHOLD = 0.25
EXEMPLAR_SCORE_THRESHOLD = 0.5  # of objects like examples: the nearest example is a positive one
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
        to_name, usable = _usable_targets(config, configuration.shape)
        labels = _labels_of(usable)
        _check_names(configuration, class_names, labels, usable)
        found: dict[str, str | None]
        if configuration.text:
            found = {words.text: label_of_words(words, label_tags(usable)) for words in configuration.words}
        else:
            found = {name: _label_for(name, usable, labels, configuration) for name in class_names}
        targets = {
            name: _target(config, usable, to_name, label, configuration)
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
        _, usable = _usable_targets(self.config, self.configuration.shape)
        for label in labels or ("",):
            if label in _labels_of(usable) or not label:
                return _target(self.config, usable, self.to_name, label, self.configuration)
        return None


def _usable_targets(config: LabelingConfig, shape: str) -> tuple[str, list[RegionTarget]]:
    """Return the first image tag with usable control tags, and their targets without labels, preferred ones first."""
    for image in config.images or (config.image(),):
        found = possible_targets(config, image.name, None if shape == "auto" else shape)
        if found:
            return image.name, found
    shapes = SHAPES if shape == "auto" else (shape,)
    wanted = " or ".join(dict.fromkeys(tag_name(each) for each in shapes))
    raise LabelingConfigError(f"the labeling config has no {wanted} for an image: add one for the regions")


def _labels_of(targets: Iterable[RegionTarget]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for tag in label_tags(targets) for _, label in tag.label_words))


def _has_dynamic_labels(targets: Iterable[RegionTarget]) -> bool:
    return any(tag.has_dynamic_labels for tag in label_tags(targets))


def _label_for(
    name: str, targets: list[RegionTarget], labels: tuple[str, ...], configuration: RunConfiguration
) -> str | None:
    """Return the label of a class; `""` for regions without label, None for no regions."""
    label_map = {given.casefold(): label for given, label in configuration.label_map.items()}
    words = [pair for tag in label_tags(targets) for pair in tag.label_words]
    if name.casefold() in label_map:
        return dict(words).get(label_map[name.casefold()], label_map[name.casefold()])
    predicted = [pair for tag in label_tags(targets) for pair in tag.predicted_values]
    for pairs in (predicted, words):
        exact = next((label for given, label in pairs if given == name), None)
        in_any_case = next((label for given, label in pairs if given.casefold() == name.casefold()), None)
        if exact or in_any_case:
            return exact or in_any_case
    if not labels and _has_dynamic_labels(targets):
        return name
    if name == ANY_OBJECT and len(labels) == 1:
        return labels[0]
    is_unlabelled_possible = any(not each.tags.mask.kind.endswith("labels") for each in targets)
    return "" if is_unlabelled_possible and (name == ANY_OBJECT or not labels) else None


def _target(
    config: LabelingConfig, targets: list[RegionTarget], to_name: str, label: str, configuration: RunConfiguration
) -> Target:
    def takes(each: RegionTarget) -> bool:
        if not label:
            return not each.tags.mask.kind.endswith("labels") and each.tags.labels is None
        return (each.tags.labels or each.tags.mask).knows((label,))

    labels = (label,) if label else ()
    if configuration.shape == "auto":
        targets = label_targets(config, to_name, labels)
    chosen = next((each for each in targets if takes(each)), targets[0])
    of_tag = next((tag.score_threshold for tag in label_tags([chosen]) if tag.score_threshold is not None), None)
    thresholds = (configuration.label_thresholds.get(label), configuration.score_threshold, of_tag)
    default = EXEMPLAR_SCORE_THRESHOLD if configuration.detector == EXEMPLARS else DEFAULT_SCORE_THRESHOLD
    threshold = next((value for value in thresholds if value is not None), default)
    return Target(chosen.shape, chosen.tags, to_name, labels, threshold)


def _check_names(
    configuration: RunConfiguration,
    class_names: Sequence[str],
    labels: tuple[str, ...],
    targets: list[RegionTarget],
) -> None:
    known = {name.casefold() for name in class_names}
    for name, label in configuration.label_map.items():
        if class_names and name.casefold() not in known:
            raise BadRequestError(
                f"label_map.{name}: the detector has no class {name!r}; it has {_listed(class_names)}"
            )
        words = dict(pair for tag in label_tags(targets) for pair in tag.label_words)
        if label not in words and not _has_dynamic_labels(targets):
            raise BadRequestError(f"label_map.{name}={label!r} is not a label of the config; it has {_listed(labels)}")
    for label in configuration.label_thresholds:
        if label not in labels and not _has_dynamic_labels(targets):
            raise BadRequestError(f"label_thresholds.{label}: the config has no such label; it has {_listed(labels)}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    return ", ".join(names[:MAX_LISTED_NAMES]) + more
