from typing import Any

import pytest

from sam_backend.errors import BadRequestError, LabelingConfigError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.label_mapping import ANY_OBJECT, LabelMapping
from sam_backend.protocol.labeling_config import LabelingConfig

CLASSES = ("person", "Car", "truck", "dog")


def config(controls: str) -> LabelingConfig:
    return LabelingConfig.from_xml(f'<View><Image name="image" value="$image"/>{controls}</View>')


def brush(labels: str, more: str = "") -> str:
    return f'<BrushLabels name="mask" toName="image" {more}>{labels}</BrushLabels>'


def mapping(controls: str, classes: tuple[str, ...] = CLASSES, **asked: Any) -> LabelMapping:
    return LabelMapping.of(config(controls), classes, RunConfiguration(1, **asked))


def test_predicted_values_go_before_the_same_name_and_that_before_another_case() -> None:
    labels = '<Label value="person"/><Label value="Vehicle" predicted_values="car, truck"/><Label value="Truck"/>'

    found = mapping(brush(labels))

    assert dict(found.report.mapped) == {"person": "person", "Car": "Vehicle", "truck": "Vehicle"}
    assert found.report.labels_without_class == ("Truck",)
    assert found.report.dropped_classes == ("dog",)


def test_the_users_map_wins_over_all() -> None:
    labels = '<Label value="Vehicle" predicted_values="Car"/><Label value="Car"/>'

    found = mapping(brush(labels), label_map={"car": "Car", "DOG": "Car"})

    assert dict(found.report.mapped) == {"Car": "Car", "dog": "Car"}


def test_a_label_with_an_alias_is_stored_by_its_alias() -> None:
    vehicle = '<Label value="Motor Vehicle" alias="Car" hint="truck"/>'

    found = mapping(brush(vehicle + '<Label value="Pet"/>'), label_map={"dog": "Pet", "person": "Motor Vehicle"})

    assert dict(found.report.mapped) == {"person": "Car", "Car": "Car", "truck": "Car", "dog": "Pet"}
    assert mapping(brush(vehicle), (ANY_OBJECT,)).targets[ANY_OBJECT].labels == ("Car",)


def test_words_mean_the_label_that_they_name_or_that_is_written_after_them() -> None:
    labels = '<Label value="Vehicle" hint="lorry"/><Label value="Cat"/>'

    found = mapping(brush(labels), ("cat", "red car", "lorry"), text="cat, red car=Vehicle, lorry")

    assert dict(found.report.mapped) == {"cat": "Cat", "red car": "Vehicle", "lorry": "Vehicle"}
    with pytest.raises(BadRequestError, match="'dog' is not a label of the config"):
        mapping(brush(labels), ("dog",), text="dog")


def test_a_map_that_names_what_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(BadRequestError, match="no class 'cat'"):
        mapping(brush('<Label value="A"/>'), label_map={"cat": "A"})
    with pytest.raises(BadRequestError, match=r"label_map.dog='B' is not a label of the config; it has A"):
        mapping(brush('<Label value="A"/>'), label_map={"dog": "B"})
    with pytest.raises(BadRequestError, match=r"label_thresholds.B"):
        mapping(brush('<Label value="dog"/>'), label_thresholds={"B": 0.5})


def test_thresholds_of_the_label_go_before_the_runs_and_that_before_the_tags() -> None:
    labels, threshold = '<Label value="dog"/><Label value="person"/>', 'model_score_threshold="0.6"'

    of_tag = mapping(brush(labels, threshold))
    of_run = mapping(brush(labels, threshold), score_threshold=0.4, label_thresholds={"dog": 0.9})

    assert {name: target.score_threshold for name, target in of_tag.targets.items()} == {"dog": 0.6, "person": 0.6}
    assert {name: target.score_threshold for name, target in of_run.targets.items()} == {"dog": 0.9, "person": 0.4}


def test_a_threshold_that_is_no_number_is_named() -> None:
    with pytest.raises(LabelingConfigError, match="model_score_threshold='high'"):
        mapping(brush('<Label value="dog"/>', 'model_score_threshold="high"'))


def test_the_first_tag_with_the_label_is_taken_and_another_shape_when_asked_for() -> None:
    rectangles = '<RectangleLabels name="box" toName="image"><Label value="dog"/></RectangleLabels>'
    polygons = '<PolygonLabels name="outline" toName="image"><Label value="dog"/></PolygonLabels>'

    assert mapping(rectangles + brush('<Label value="dog"/>') + polygons).targets["dog"].shape == "brush"
    assert mapping(rectangles + polygons + brush('<Label value="dog"/>')).targets["dog"].shape == "polygon"
    assert mapping(rectangles + polygons).targets["dog"].shape == "polygon"
    assert mapping(rectangles + polygons, shape="rectangle").targets["dog"].tags.mask.name == "box"
    rotated = rectangles.replace("toName", 'sam_output="rotated_rectangle" toName')
    assert mapping(rotated).targets["dog"].shape == "rotated_rectangle"
    with pytest.raises(LabelingConfigError, match="no <BitmaskLabels>"):
        mapping(rectangles, shape="bitmask")


def test_a_label_that_only_another_tag_has_goes_there() -> None:
    rectangles = '<RectangleLabels name="box" toName="image"><Label value="dog"/></RectangleLabels>'

    found = mapping(brush('<Label value="person"/>') + rectangles)

    assert found.targets["person"].shape == "brush"
    assert found.targets["dog"].shape == "rectangle"


def test_things_without_class_get_the_only_label_or_none_where_the_tag_needs_none() -> None:
    palette = '<Labels name="label" toName="image"><Label value="A"/><Label value="B"/></Labels>'

    assert mapping(brush('<Label value="Cell"/>'), (ANY_OBJECT,)).targets[ANY_OBJECT].labels == ("Cell",)
    plain = mapping(palette + '<Brush name="brush" toName="image"/>', (ANY_OBJECT,)).targets[ANY_OBJECT]
    assert plain.labels == ()
    assert plain.tags.labels is None
    with pytest.raises(LabelingConfigError, match="no class of the detector"):
        mapping(brush('<Label value="A"/><Label value="B"/>'), (ANY_OBJECT,))


def test_no_class_that_fits_says_both_sides_and_the_way_out() -> None:
    with pytest.raises(LabelingConfigError, match=r"\(person, Car, truck, dog\) is a label of the config \(Cell\)"):
        mapping(brush('<Label value="Cell"/>'))
