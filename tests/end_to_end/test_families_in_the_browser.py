"""The model is switched on the page, and each family answers a click in Label Studio; small networks, seeded weights.

The families with a test of their own are in test_sam_checkpoint.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.end_to_end.test_sam_checkpoint import PALETTE, PHOTO, mask_of

from sam_backend.demo.backend_process import backend_url
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.masks.overlap import iou_of_masks
from sam_model.registry import load_segmenter
from sam_model.sam_checkpoints import SIZES
from sam_testing.annotations import annotations_of_task
from sam_testing.backend_program import BackendProgram
from sam_testing.tiny_catalogue import COMMAND, TINY_SIZES, write_tiny_files
from sam_testing.tiny_transformers import write_tiny_sam3_tracker
from sam_testing.yolo_files import write_yolo_file

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(400)]

HEIGHT, WIDTH = 400, 600  # of PHOTO
LOADING_MS = 90_000  # the first model of transformers imports it


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    """Write the weights of each family into the folder of weights; return their paths by the model's name."""
    folder = tmp_path / "weights"
    files = write_tiny_files(folder)
    return {
        "efficienttam_s": files["efficienttam_s"],
        "fastsam_s": write_yolo_file(folder / "FastSAM-s.pt", names=("object",), has_masks=True),
        "sam3": write_tiny_sam3_tracker(folder / "sam3"),
    }


@pytest.fixture
def backend(services: Any, weights: dict[str, Path], tmp_path: Path) -> Iterator[BackendProgram]:
    settings = {
        "LABEL_STUDIO_URL": services.url,
        "LABEL_STUDIO_API_KEY": services.token,
        "SAM_MODEL": "mobile_sam",
        "SAM_WEIGHTS_DIR": str(tmp_path / "weights"),
        "SAM_RUNS_DIR": str(tmp_path / "runs"),
        "SAM_RUNTIME": "torch",  # that of the expected masks
        "SAM_ZOOM": "off",
        "TINY_WEIGHTS": str(tmp_path / "weights"),
    }
    program = BackendProgram(tmp_path / "log", COMMAND, **settings)
    yield program
    program.stop()


def test_each_family_answers_a_click_after_a_switch_on_the_page(
    services: Any,
    editor: Any,
    backend: BackendProgram,
    weights: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, size in TINY_SIZES.items():
        monkeypatch.setitem(SIZES, name, size)
    connected = replace(services, backend_url=backend_url(backend.port))
    page: Page = editor.page.context.new_page()

    for name, file in weights.items():
        page.goto(f"{connected.backend_url}/")
        page.get_by_role("button", name=f"Use {name}").click()
        expect(page.locator("#models tr.used")).to_contain_text(name, timeout=LOADING_MS)
        project, task = connected.new_task(name, PALETTE.read_text(), PHOTO)
        editor.open_task(project, task)
        editor.take_point("Thing")
        sent = editor.click(40, 60)
        expect(editor.suggestions).to_have_text("1 suggestions")
        editor.accept()
        editor.submit()

        assert backend.ask("/api/clicks")[1]["clicks"][0]["model"] == name
        [annotation] = annotations_of_task(services.api, task)
        stored = next(region for region in annotation.result if region["type"] == "brush")
        mask = decode_mask(stored["value"]["rle"], HEIGHT, WIDTH)
        expected = mask_of(load_segmenter(str(file), "cpu"), sent[0]["value"])
        assert iou_of_masks(mask, expected) >= 0.99, name
