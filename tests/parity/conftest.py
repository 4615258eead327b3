"""Pairs of a reference model and ours with the same seeded weights, for all parity tests."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sam_model.sam.segmenter import SamSegmenter
from sam_testing.reference_pairs import Pair, pair_called
from sam_testing.seeded_checkpoints import TINY_VIT_SAM, seeded_sam, seeded_state


@pytest.fixture(scope="session", params=["mobile_sam", "sam_b"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """One pair after the other, both with all their layers."""
    return pair_called(request.param)


@pytest.fixture(scope="session")
def pairs() -> Callable[[str], Pair]:
    """A pair by its name, for tests that need only one."""
    return pair_called


@pytest.fixture(scope="session")
def tiny() -> tuple[Any, SamSegmenter]:
    """The reference and ours as small models of all their parts, with the same weights."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.set_num_threads(2)
    size, width = TINY_VIT_SAM, TINY_VIT_SAM.width
    reference = Sam(
        image_encoder=ImageEncoderViT(
            depth=3,
            embed_dim=width,
            img_size=size.image_size,
            num_heads=2,
            global_attn_indexes=(1,),
            window_size=3,
            out_chans=width,
            use_rel_pos=True,
            norm_layer=lambda channels: torch.nn.LayerNorm(channels, eps=1e-6),
        ),
        prompt_encoder=PromptEncoder(width, (size.grid, size.grid), (size.image_size, size.image_size), 16),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(
                size.decoder_depth, width, num_heads=size.decoder_heads, mlp_dim=size.decoder_mlp
            ),
            transformer_dim=width,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    reference.load_state_dict(seeded_state(size, seed=3))
    return reference.eval(), SamSegmenter(seeded_sam(size, seed=3), size.name)
