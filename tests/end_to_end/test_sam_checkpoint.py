"""A click with checkpoints of several families in the official format and seeded weights; their masks are noise."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.demo.backend_process import backend_url, start_backend
from sam_backend.demo.child_process import free_port
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.masks.overlap import iou_of_masks
from sam_model.sam_checkpoints import SIZES
from sam_model.types import Mask, Point, Prompt
from sam_testing.annotations import annotations_of_task
from sam_testing.converted_networks import converted_segmenter
from sam_testing.seeded_checkpoints import write_seeded_checkpoint

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]

PHOTO = Path("examples/photos/coffee.jpg")  # 600 x 400
PALETTE = Path("examples/labeling_configs/labels_palette.xml")


FAMILIES = ("mobile_sam", "sam2.1_hiera_tiny", "sam_hq_tiny")
ESSENTIAL = "mobile_sam"
READY_S = 150  # of a network of real size, with its self-test, on a busy machine
FIRST_CLICK_MS = 90_000  # with the embedding of a network of real size on a busy machine


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == ESSENTIAL else pytest.mark.slow) for name in FAMILIES],
)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded_checkpoint(tmp_path_factory.mktemp("weights") / "checkpoint.pt", SIZES[request.param])


@pytest.fixture
def expected(checkpoint: Path) -> Any:
    """A segmenter with the runtime and the precision that a service uses by default, with converted networks."""
    return converted_segmenter(checkpoint)


@pytest.fixture
def sam_services(services: Any, checkpoint: Path, expected: Any, tmp_path: Path) -> Iterator[Any]:
    port = free_port(0)
    settings = {"SAM_MODEL": str(checkpoint), "SAM_ZOOM": "off"}  # SAM_ZOOM embeds what is around a click, too
    with start_backend(port, services.url, services.token, tmp_path / "sam.log", settings) as backend:
        backend.wait_for(f"{backend_url(port)}/ready", READY_S, lambda waited_s: None)
        yield replace(services, backend_url=backend_url(port))


def test_a_click_reaches_a_sam_checkpoint_and_its_mask_is_stored(sam_services: Any, editor: Any, expected: Any) -> None:
    project, task = sam_services.new_task("SAM", PALETTE.read_text(), PHOTO)

    editor.open_task(project, task)
    editor.take_point("Thing")
    sent = editor.click(40, 60)
    expect(editor.suggestions).to_have_text("1 suggestions", timeout=FIRST_CLICK_MS)
    editor.accept()
    editor.submit()

    [annotation] = annotations_of_task(sam_services.api, task)
    stored = next(region for region in annotation.result if region["type"] == "brush")
    mask = decode_mask(stored["value"]["rle"], 400, 600)
    assert iou_of_masks(mask, mask_of(expected, sent[0]["value"])) >= 0.99


def mask_of(segmenter: Any, value: dict[str, float]) -> Mask:
    embedding = segmenter.embed(np.asarray(Image.open(PHOTO).convert("RGB")))
    click = Point(value["x"] / 100 * 600, value["y"] / 100 * 400)
    [scored] = segmenter.segment(embedding, [Prompt(points=(click,))])
    mask: Mask = scored.mask
    return mask
