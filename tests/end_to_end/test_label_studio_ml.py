"""A click through the real Label Studio on label-studio-ml 1.0.9 with our model in it."""

from pathlib import Path

import pytest
from tests.end_to_end.conftest import Services

from sam_backend.demo.user_actions import interactive_prediction
from sam_backend.label_studio.backend_registration import connect, registrations
from sam_testing.backend_program import environment
from sam_testing.ml_backend_server import label_studio_ml_server

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()


def test_a_click_gives_the_mask_that_our_own_server_gives(services: Services, tmp_path: Path) -> None:
    access = {"LABEL_STUDIO_URL": services.url, "LABEL_STUDIO_API_KEY": services.token}
    project, task = services.new_task("label-studio-ml", PALETTE, Path("examples/photos/flower.jpg"))
    point = {"from_name": "point", "to_name": "image", "type": "keypoint", "id": "a", "is_positive": True}
    point |= {"original_width": 640, "original_height": 427, "image_rotation": 0}
    context = {"result": [point | {"value": {"x": 40, "y": 35, "width": 1}}]}
    server = label_studio_ml_server(tmp_path, environment(SAM_RUNS_DIR=str(tmp_path / "runs"), **access))
    try:
        theirs = connect(services.api, project, f"http://127.0.0.1:{server.port}", "label-studio-ml")
        answer = interactive_prediction(services.api, theirs.id, task, context)
    finally:
        server.stop()
    (ours,) = [one for one in registrations(services.api, project) if one.url == services.backend_url]

    assert theirs.is_interactive
    assert theirs.model_version.startswith("classical")
    expected = interactive_prediction(services.api, ours.id, task, context)
    assert [region["value"] for region in answer["result"]] == [region["value"] for region in expected["result"]]
    assert [region["type"] for region in answer["result"]] == ["brush"]
