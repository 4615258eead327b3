"""Words typed in the real editor become suggestions, which are accepted, submitted and stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from sam_backend.shapes.brush_rle import decode_mask
from sam_model.registry import load_segmenter, load_text_detector
from sam_model.types import Prompt
from sam_testing.annotations import annotations_of_task

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(240)]

PHOTO = Path("examples/photos/astronaut.jpg")
CONFIG = Path("examples/labeling_configs/words.xml").read_text()


def test_words_in_the_editor_become_masks_with_the_label_that_they_mean(services: Any, editor: Any) -> None:
    project, task = services.new_task("Words", CONFIG, PHOTO)

    editor.open_task(project, task)
    editor.switch_on("auto-annotation")
    sent = editor.type_words("face")
    expect(editor.suggestions).to_have_text("1 suggestions")
    editor.accept()
    editor.submit()

    [prompt] = sent
    assert (prompt["type"], prompt["from_name"], prompt["value"]["text"]) == ("textarea", "sam_words", ["face"])
    [annotation] = annotations_of_task(services.api, task)
    by_type = {result["type"]: result for result in annotation.result}
    assert set(by_type) == {"textarea", "brush", "labels"}
    assert by_type["labels"]["value"]["labels"] == ["Person"]
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    (face,) = load_text_detector("classical").detect_texts(photo, ["face"])
    segmenter = load_segmenter("classical")
    (expected,) = segmenter.segment(segmenter.embed(photo), [Prompt(box=face.box)])
    stored = decode_mask(by_type["brush"]["value"]["rle"], *photo.shape[:2])
    assert (stored & expected.mask).sum() / (stored | expected.mask).sum() >= 0.99
