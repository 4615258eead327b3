import pytest

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.shapes.targets import PromptTags, RegionTarget, click_target
from sam_testing.label_studio import BRUSH_CONFIG, PALETTE_CONFIG


def mask_names(config: str, labels: tuple[str, ...], palette: str | None = None) -> tuple[str, str | None]:
    tags = click_target(LabelingConfig.from_xml(config), "image", PromptTags(labels, palette=palette)).tags
    return tags.mask.name, None if tags.labels is None else tags.labels.name


def target_of(*tags: str, label: str = "Cat", **prompt: str) -> RegionTarget:
    config = LabelingConfig.from_xml(view(*tags))
    project_shape = prompt.pop("project_shape", None)
    return click_target(config, "image", PromptTags((label,), **prompt), project_shape)


def labelled(tag: str, labels: str = "Cat", more: str = "") -> str:
    inner = "".join(f'<Label value="{label}"/>' for label in labels.split())
    return f'<{tag} name="{tag.lower()}" toName="image" {more}>{inner}</{tag}>'


def view(*tags: str) -> str:
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


def test_a_click_with_keypointlabels_goes_to_the_brushlabels() -> None:
    assert mask_names(BRUSH_CONFIG, ("Dog",)) == ("brush", None)


def test_a_click_with_a_palette_goes_to_the_brush_and_the_palette() -> None:
    assert mask_names(PALETTE_CONFIG, ("Dog",), "lab") == ("brush", "lab")


def test_of_two_brushlabels_the_one_with_the_label_is_taken() -> None:
    config = view(
        '<BrushLabels name="animals" toName="image"><Label value="Cat"/></BrushLabels>',
        '<BrushLabels name="things" toName="image"><Label value="Cup" alias="c"/></BrushLabels>',
    )

    assert mask_names(config, ("Cup",)) == ("things", None)
    assert mask_names(config, ("c",)) == ("things", None)
    assert mask_names(config, ("Cat",)) == ("animals", None)
    assert mask_names(config, ("Unknown",)) == ("animals", None)


def test_labels_that_come_from_the_task_are_known_to_their_tag() -> None:
    config = view(
        '<BrushLabels name="fixed" toName="image"><Label value="Cat"/></BrushLabels>',
        '<BrushLabels name="dynamic" toName="image" value="$options"/>',
    )

    assert mask_names(config, ("Anything",)) == ("dynamic", None)


def test_with_both_pairs_the_prompts_own_kind_decides() -> None:
    config = view(
        '<Labels name="lab" toName="image"><Label value="Cat"/></Labels><Brush name="plain" toName="image"/>',
        '<BrushLabels name="labelled" toName="image"><Label value="Cat"/></BrushLabels>',
    )

    assert mask_names(config, ("Cat",), "lab") == ("plain", "lab")
    assert mask_names(config, ("Cat",)) == ("labelled", None)


def test_the_other_pair_is_taken_where_the_config_has_no_own() -> None:
    assert mask_names(PALETTE_CONFIG, ("Cat",)) == ("brush", "lab")
    assert mask_names(BRUSH_CONFIG, ("Cat",), "lab") == ("brush", None)


def test_tags_of_another_image_do_not_count() -> None:
    config = '<View><Image name="image" value="$a"/><Image name="other" value="$b"/>' + (
        '<BrushLabels name="b" toName="other"><Label value="Cat"/></BrushLabels></View>'
    )

    with pytest.raises(LabelingConfigError, match="no tag for regions with toName='image': add one of <BrushLabels>"):
        mask_names(config, ("Cat",))


@pytest.mark.parametrize(
    ("tag", "shape"),
    [
        ("BrushLabels", "brush"),
        ("BitmaskLabels", "bitmask"),
        ("PolygonLabels", "polygon"),
        ("RectangleLabels", "rectangle"),
        ("EllipseLabels", "ellipse"),
        ("VectorLabels", "vector"),
    ],
)
def test_a_click_is_answered_in_the_shape_that_the_config_has(tag: str, shape: str) -> None:
    target = target_of(labelled("KeyPointLabels"), labelled(tag))

    assert (target.shape, target.tags.mask.kind, target.labels) == (shape, tag.lower(), ("Cat",))


def test_of_several_tags_with_the_label_the_first_one_in_the_config_is_taken() -> None:
    polygon, brush = labelled("PolygonLabels"), labelled("BrushLabels")

    assert target_of(polygon, brush).shape == "polygon"
    assert target_of(brush, polygon).shape == "brush"
    assert target_of(labelled("PolygonLabels", "Dog"), brush).shape == "brush"


def test_a_rectangle_tag_that_is_a_prompt_comes_last() -> None:
    brush = labelled("BrushLabels")

    assert target_of(labelled("RectangleLabels"), brush).shape == "brush"
    assert target_of(labelled("RectangleLabels", more='smart="false"'), brush).shape == "rectangle"
    assert target_of(labelled("BrushLabels", "Dog"), labelled("RectangleLabels", "Cat Dog")).shape == "rectangle"


def test_sam_output_selects_a_shape() -> None:
    brush, polygon, rectangle = labelled("BrushLabels"), labelled("PolygonLabels"), labelled("RectangleLabels")
    polygon_points = labelled("KeyPointLabels", more='sam_output="polygon"')

    assert target_of(brush, polygon, polygon_points, tag="keypointlabels").shape == "polygon"
    assert target_of(brush, polygon, polygon_points, tag="rectanglelabels").shape == "brush"
    assert target_of(brush, labelled("PolygonLabels", more='sam_output="polygon"')).shape == "polygon"
    assert target_of(brush, polygon, project_shape="polygon").shape == "polygon"
    assert target_of(brush, polygon, polygon_points, tag="keypointlabels", project_shape="brush").shape == "polygon"
    rotated = target_of(rectangle, project_shape="rotated_rectangle")
    assert (rotated.shape, rotated.tags.mask.kind) == ("rotated_rectangle", "rectanglelabels")


def test_a_selected_shape_without_a_tag_is_refused_by_value() -> None:
    message = "sam_output='ellipse': the labeling config has no <EllipseLabels> and no <Ellipse> with toName='image'"

    with pytest.raises(LabelingConfigError, match=message):
        target_of(labelled("BrushLabels"), project_shape="ellipse")
    with pytest.raises(LabelingConfigError, match=message):
        target_of(labelled("BrushLabels", more='sam_output="ellipse"'))


def test_a_palette_labels_plain_tags_of_every_shape() -> None:
    palette = '<Labels name="lab" toName="image"><Label value="Cat"/></Labels>'

    for tag in ("Polygon", "Bitmask", "Ellipse", "Vector"):
        target = target_of(palette, f'<{tag} name="out" toName="image"/><Rectangle name="box" toName="image"/>')
        assert target.shape == tag.lower()
        assert target.tags.labels is not None
