import pytest

from sam_backend.errors import LabelingConfigError
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.shapes.click_shapes import describe_click_shapes
from sam_testing.label_studio import BRUSH_CONFIG, PALETTE_CONFIG


def described(config: str, project_shape: str | None = None) -> str:
    return describe_click_shapes(LabelingConfig.from_xml(config), project_shape)


def test_one_shape_for_all_labels_is_named_alone() -> None:
    assert described(BRUSH_CONFIG) == "brush"
    assert described(PALETTE_CONFIG) == "brush"
    assert described(BRUSH_CONFIG.replace("BrushLabels", "EllipseLabels")) == "ellipse"


def test_several_shapes_are_named_with_their_labels() -> None:
    polygon = '<PolygonLabels name="p" toName="image"><Label value="Dog"/></PolygonLabels></View>'
    config = BRUSH_CONFIG.replace('<Label value="Dog"/></BrushLabels>', "</BrushLabels>").replace("</View>", polygon)

    assert described(config) == "brush for Cat; polygon for Dog"
    assert described(config, "polygon") == "polygon"


def test_a_config_without_smart_tools_and_one_without_regions() -> None:
    brush = '<View><Image name="image" value="$image"/><Brush name="b" toName="image"/></View>'

    assert described(brush) == "no smart point and no smart rectangle"
    with pytest.raises(LabelingConfigError, match="no tag for regions"):
        described(brush.replace("<Brush", "<KeyPoint"))
    with pytest.raises(LabelingConfigError, match="sam_output='vector'"):
        described(BRUSH_CONFIG, "vector")
