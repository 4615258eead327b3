import pytest

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import LabelingConfig, _parsed
from sam_testing.label_studio import BRUSH_CONFIG, PAGES_CONFIG


def view(*tags: str) -> str:
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


def test_tag_names_compare_without_case() -> None:
    config = '<View><image name="image" value="$image"/><BRUSHLABELS name="b" toName="image"/></View>'

    assert [tag.kind for tag in LabelingConfig.from_xml(config).controls] == ["brushlabels"]


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


def test_a_shape_that_does_not_exist_is_refused_by_name_and_value() -> None:
    with pytest.raises(LabelingConfigError, match=r"<Brush name='b'> has sam_output='hexagon'; expected: brush, bit"):
        LabelingConfig.from_xml(view('<Brush name="b" toName="image" sam_output="hexagon"/>'))
