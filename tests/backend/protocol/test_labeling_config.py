import pytest

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import LabelingConfig, _parsed
from sam_testing.label_studio import BRUSH_CONFIG, PAGES_CONFIG, PALETTE_CONFIG


def mask_names(config: str, labels: tuple[str, ...], palette: str | None = None) -> tuple[str, str | None]:
    tags = LabelingConfig.from_xml(config).mask_tags("image", labels, palette)
    return tags.mask.name, None if tags.labels is None else tags.labels.name


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

    with pytest.raises(LabelingConfigError, match="no <BrushLabels> and no <Brush> with toName='image'"):
        mask_names(config, ("Cat",))


def test_tag_names_compare_without_case() -> None:
    config = '<View><image name="image" value="$image"/><BRUSHLABELS name="b" toName="image"/></View>'

    assert mask_names(config, ()) == ("b", None)


def test_the_image_is_found_in_the_tasks_data() -> None:
    image = LabelingConfig.from_xml(BRUSH_CONFIG).image("image")

    assert image.sources({"image": "/data/upload/1/a.png"}) == ("/data/upload/1/a.png",)


def test_a_multi_page_item_has_several_images() -> None:
    image = LabelingConfig.from_xml(PAGES_CONFIG).image()

    assert image.is_list
    assert image.sources({"images": ["/a.png", "/b.png"]}) == ("/a.png", "/b.png")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"picture": "x"}, "no field 'image'.*fields: picture"),
        ({}, "no field 'image'.*fields: none"),
        ({"image": None}, "no field 'image'"),
        ({"image": 7}, "data.image=7 is not"),
        ({"image": ""}, "data.image='' is not"),
        ({"image": []}, "data.image is an empty list"),
        ({"image": ["/a.png", {}]}, "data.image={} is not"),
    ],
)
def test_data_without_an_image_are_refused_by_field_and_value(data: dict, complaint: str) -> None:
    with pytest.raises(LabelingConfigError, match=complaint):
        LabelingConfig.from_xml(BRUSH_CONFIG).image().sources(data)


def test_an_unknown_image_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LabelingConfigError, match="no <Image name='picture'>; images: image"):
        LabelingConfig.from_xml(BRUSH_CONFIG).image("picture")


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<View>",
        "not xml",
        "<View>\x00</View>",
        '<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>',
        '<!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>',
        '<View><Image name="image"/></View>',
        "<View>" + " " * (256 * 1024) + "</View>",
        "<View>" * 201 + "</View>" * 201,
        "<View>" + '<Brush name="b" toName="i"/>' * 1001 + "</View>",
    ],
)
def test_what_is_no_labeling_config_is_refused(xml: str) -> None:
    with pytest.raises(LabelingConfigError):
        LabelingConfig.from_xml(xml)


def test_a_label_belongs_to_the_control_tag_nearest_around_it() -> None:
    inner = '<Labels name="inner" toName="image"><View><Label value="Cup"/></View></Labels>'
    config = LabelingConfig.from_xml(view(f'<Labels name="outer" toName="image"><Label value="Cat"/>{inner}</Labels>'))

    assert [(tag.name, tag.labels) for tag in config.controls] == [("outer", ("Cat",)), ("inner", ("Cup",))]


def test_labels_are_kept_once_however_deep_their_tags_are_nested() -> None:
    opening = "".join(f'<Labels name="l{i}" toName="image">' for i in range(190))
    labels = "".join(f'<Label value="{i}"/>' for i in range(5000))

    config = LabelingConfig.from_xml(view(opening + labels + "</Labels>" * 190))

    assert sum(len(tag.labels) for tag in config.controls) == 5000


def test_the_cache_of_parsed_configs_is_bounded_by_bytes() -> None:
    for i in range(100):
        LabelingConfig.from_xml(view('<Brush name="b" toName="image"/>' * 900) + " " * (100_000 + i))

    assert 0 < _parsed.bytes_held <= 16 << 20
    assert len(_parsed) < 20
