"""docs/labeling-configs.md, the schema of the extra parameters and the example configs agree with the code."""

import json
import re
from dataclasses import fields
from typing import Any

import jsonschema
import pytest

from sam_backend.interactive.extra_params import CLICK_FIELDS, MAX_CANDIDATES, ClickOptions, ExtraParams
from sam_backend.preannotation.configuration import POLICIES, RunConfiguration
from sam_backend.preannotation.configuration import SHAPES as RUN_SHAPES
from sam_backend.protocol.labeling_config import SHAPES, LabelingConfig
from sam_backend.protocol.smart_tags import missing_tags
from sam_backend.service.project_registry import RUN_FIELDS
from sam_backend.shapes.click_shapes import describe_click_shapes
from sam_testing.documentation import ROOT

PAGE = (ROOT / "docs/labeling-configs.md").read_text()
SCHEMA = json.loads((ROOT / "docs/extra-params.schema.json").read_text())
EXAMPLES = sorted((ROOT / "examples/labeling_configs").glob("*.xml"))
NOT_FOR_PROJECTS = {"project", "engine", "ray_address", "ray_workers", "purpose"}  # of the command line and the page


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_gives_the_regions_of_its_name(path: Any) -> None:
    xml = path.read_text()

    assert missing_tags(xml) == ()
    expected = path.stem if path.stem in SHAPES else "brush"
    assert describe_click_shapes(LabelingConfig.from_xml(xml)) == expected
    assert path.name in PAGE + (ROOT / "docs/getting-started.md").read_text()


def test_the_page_names_each_shape_and_each_option_of_clicks() -> None:
    options = re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE.partition("## Extra parameters")[2], re.M)

    assert set(options) == CLICK_FIELDS
    assert all(f"`{shape}`" in PAGE for shape in SHAPES)


def test_the_schema_has_each_field_with_its_choices_and_default() -> None:
    properties = SCHEMA["properties"]

    assert set(properties) == CLICK_FIELDS | RUN_FIELDS - NOT_FOR_PROJECTS
    assert properties["sam_output"]["enum"] == list(SHAPES)
    assert properties["shape"]["enum"] == list(RUN_SHAPES)
    assert properties["policy"]["enum"] == list(POLICIES)
    assert properties["candidates"]["maximum"] == MAX_CANDIDATES
    for known in (ClickOptions(), RunConfiguration(1)):
        for field in fields(known):
            if "default" in properties.get(field.name, {}):
                assert properties[field.name]["default"] == getattr(known, field.name)


def test_the_examples_of_the_page_fit_the_schema_and_the_parser() -> None:
    examples = re.findall(r"```json\n(.*?)\n```", PAGE, re.S)

    assert examples
    for example in examples:
        jsonschema.validate(json.loads(example), SCHEMA)
        ExtraParams.from_json(example.encode(), RUN_FIELDS)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sam_output": "hexagon"}, SCHEMA)
