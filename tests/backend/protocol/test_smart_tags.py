import pytest

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.smart_tags import has_words, missing_tags, with_smart_tags

RECTANGLES = """<View>
  <Image name="photo" value="$image"/>
  <RectangleLabels name="box" toName="photo"><Label value="Cat &amp; dog"/><Label value="Car"/></RectangleLabels>
</View>"""
PALETTE = '<View><Image name="i" value="$image"/><Labels name="l" toName="i"><Label value="A"/></Labels></View>'


def test_what_is_missing_is_added_for_the_labels_that_are_there_and_nothing_is_lost() -> None:
    fixed = with_smart_tags(RECTANGLES)

    assert missing_tags(RECTANGLES) == ("KeyPoint",)
    assert missing_tags(fixed) == ()
    assert RECTANGLES.removesuffix("\n</View>") in fixed
    config = LabelingConfig.from_xml(fixed)
    assert [(tag.kind, tag.labels) for tag in config.controls] == [
        ("rectanglelabels", ("Cat & dog", "Car")),
        ("keypointlabels", ("Cat & dog", "Car")),
        ("textarea", ()),
    ]


@pytest.mark.parametrize("tag", ["BrushLabels", "BitmaskLabels", "PolygonLabels", "EllipseLabels", "VectorLabels"])
def test_a_config_with_a_tag_for_regions_gets_no_brush(tag: str) -> None:
    labels = f'<{tag} name="out" toName="i"><Label value="A"/></{tag}>'
    config = f'<View><Image name="i" value="$image"/>{labels}</View>'

    assert missing_tags(config) == ("KeyPoint", "Rectangle")


def test_a_palette_is_shared_by_plain_tags() -> None:
    config = LabelingConfig.from_xml(with_smart_tags(PALETTE))

    assert [tag.kind for tag in config.controls] == ["labels", "brush", "keypoint", "rectangle", "textarea"]


@pytest.mark.parametrize(
    ("attributes", "expected"), [("", True), ('smart="false"', False), ('perRegion="true"', False)]
)
def test_a_text_of_the_image_is_a_field_for_words_unless_it_is_not_smart(attributes: str, expected: bool) -> None:
    config = PALETTE.replace("</View>", f'<TextArea name="caption" toName="i" {attributes}/></View>')

    assert has_words(config) is expected
    assert with_smart_tags(config).count("<TextArea") == (1 if expected else 2)


def test_a_config_that_has_all_stays_as_it_is() -> None:
    fixed = with_smart_tags(PALETTE)

    assert with_smart_tags(fixed) == fixed


def test_a_config_without_an_image_is_refused() -> None:
    with pytest.raises(LabelingConfigError, match="has no <Image>"):
        with_smart_tags("<View></View>")
