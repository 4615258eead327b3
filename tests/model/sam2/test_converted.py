"""OpenVINO gives the masks of PyTorch with SAM 2, EfficientTAM and HQ-SAM, for any number of prompts."""

from pathlib import Path

import numpy as np
import pytest

from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam_checkpoints import AnySize
from sam_model.types import Point, Prompt
from sam_testing.seeded_checkpoints import TINY_EFFICIENT_TAM, TINY_HQ_SAM, TINY_SAM2, seeded_sam

pytest.importorskip("openvino", reason="needs the extra [cpu]")

BOX = Prompt(box=(10, 5, 50, 30))
PROMPTS = [
    *(Prompt((Point(10.0 * number, 20),)) for number in range(1, 6)),
    Prompt((Point(10, 30), Point(40, 20, is_positive=False)), multimask=True),
    BOX,
    *(Prompt((Point(20, 10.0 + number),), box=BOX.box) for number in range(3)),
]


@pytest.mark.slow
@pytest.mark.parametrize("size", [TINY_SAM2, TINY_EFFICIENT_TAM, TINY_HQ_SAM], ids=lambda size: size.name)
def test_masks_of_both_runtimes_are_equal_in_float32(size: AnySize, tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    exact = SamSegmenter(seeded_sam(size), size.name)
    converted = SamSegmenter(seeded_sam(size), size.name, "cpu", "float32", runtime="openvino", converted_dir=tmp_path)
    converted.segment(converted.embed(image), PROMPTS)  # starts the conversions
    assert converted._converted is not None
    assert converted._converted.wait(timeout_s=200)

    expected = exact.segment(exact.embed(image), PROMPTS)
    answers = converted.segment(converted.embed(image), PROMPTS)

    for answer, wanted in zip(answers, expected, strict=True):
        assert answer.score == pytest.approx(wanted.score, abs=1e-4)
        np.testing.assert_allclose(answer.low_res_logits, wanted.low_res_logits, atol=2e-3)
        assert (answer.mask == wanted.mask).mean() > 0.999
