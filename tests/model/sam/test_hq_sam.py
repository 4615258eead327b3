"""HQ-SAM: keys, recognition, one mask per prompt, and the details in the embedding."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_model.sam.embedding_bytes import embedding_from_bytes, embedding_to_bytes
from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam.sizes import HQ_SIZES
from sam_model.sam_checkpoints import empty_sam, load_sam, sam_from_state
from sam_model.types import Point, Prompt
from sam_model.weights.errors import BrokenWeightsError
from sam_testing.seeded_checkpoints import (
    TINY_HQ_SAM,
    TINY_VIT_SAM,
    key_lines,
    seeded_sam,
    seeded_state,
    write_seeded_checkpoint,
)

GOLDEN = Path(__file__).parents[2] / "golden"
TINY_SIZES = (TINY_VIT_SAM, TINY_HQ_SAM)


@pytest.mark.parametrize("name", HQ_SIZES)
def test_keys_and_shapes_are_those_of_the_official_checkpoints(name: str) -> None:
    golden = (GOLDEN / f"{name}_keys.txt").read_text().splitlines()

    assert key_lines(empty_sam(HQ_SIZES[name]).state_dict()) == golden


@pytest.mark.parametrize("size", TINY_SIZES, ids=lambda size: size.name)
def test_sam_and_hq_sam_are_told_apart(tmp_path: Path, size: type) -> None:
    assert load_sam(write_seeded_checkpoint(tmp_path / "some.pth", size), TINY_SIZES).size is size


def test_a_checkpoint_without_the_details_is_named() -> None:
    state = seeded_state(TINY_HQ_SAM)
    del state["mask_decoder.hf_token.weight"]

    with pytest.raises(BrokenWeightsError, match=r"tiny_hq_sam, .*: 1 missing: mask_decoder\.hf_token\.weight"):
        sam_from_state(state, "tuned.pth", TINY_SIZES)


def test_every_prompt_has_one_mask_that_depends_on_the_details() -> None:
    segmenter = SamSegmenter(seeded_sam(TINY_HQ_SAM), "tiny_hq_sam")
    embedding = segmenter.embed(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))
    prompts = [Prompt((Point(30, 20),), multimask=True), Prompt(box=(10, 5, 60, 40))]
    stored = embedding_from_bytes(embedding_to_bytes(embedding, "0" * 64), "0" * 64, segmenter.fingerprint)

    answers, again = segmenter.segment(embedding, prompts), segmenter.segment(stored, prompts)
    without = segmenter.segment(replace(embedding, details=(torch.zeros(1, 4, 32, 32),)), prompts)

    assert [tuple(detail.shape) for detail in stored.details] == [(1, 4, 32, 32)]
    for answer, same, other in zip(answers, again, without, strict=True):
        assert not answer.alternatives
        assert answer.low_res_logits is not None
        assert np.array_equal(answer.mask, same.mask)
        assert other.low_res_logits is not None
        assert np.abs(answer.low_res_logits - other.low_res_logits).max() > 0.1
    assert torch.equal(stored.features, embedding.features)
