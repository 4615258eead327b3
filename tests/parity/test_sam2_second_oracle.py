"""SAM 2.1 equals a second implementation, `transformers.Sam2Model`, on the same pixels and weights."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam2.sizes import SIZES
from sam_testing.reference_pairs import image_named
from sam_testing.seeded_checkpoints import seeded_sam, seeded_state

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # of the range of the reference's values
NAME = "sam2.1_hiera_tiny"
RENAMED = (  # parts of the official keys, in the order of their replacement
    (r"^image_encoder\.trunk", "vision_encoder.backbone"),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv", r"vision_encoder.neck.convs.\1"),
    (r"patch_embed\.proj", "patch_embed.projection"),
    (r"^sam_(mask_decoder|prompt_encoder)", r"\1"),
    (r"\bnorm(\d)", r"layer_norm\1"),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"out_proj", "o_proj"),
    (r"(blocks\.\d+|transformer\.layers\.\d)\.mlp\.layers\.0", r"\1.mlp.proj_in"),
    (r"(blocks\.\d+|transformer\.layers\.\d)\.mlp\.layers\.1", r"\1.mlp.proj_out"),
    (r"(head|mlps\.\d)\.layers\.0", r"\1.proj_in"),
    (r"(head|mlps\.\d)\.layers\.2", r"\1.proj_out"),
    (r"(head|mlps\.\d)\.layers\.1", r"\1.layers.0"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"^no_mem_embed", "no_memory_embedding"),
)


def reference_model() -> Any:
    """Return transformers' model with our seeded weights under its names; all of them fit."""
    from transformers import Sam2Config, Sam2Model

    state, points = {}, {}
    for key, tensor in seeded_state(SIZES[NAME]).items():
        if "point_embeddings" in key:
            points[key] = tensor
            continue
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        state[key] = tensor
    state["prompt_encoder.point_embed.weight"] = torch.cat([points[key] for key in sorted(points)])
    state["shared_image_embedding.positional_embedding"] = state["prompt_encoder.shared_embedding.positional_embedding"]
    model: Any = Sam2Model(Sam2Config())
    model.load_state_dict(state, strict=True)
    return model.eval()


def test_embedding_and_masks_are_those_of_transformers() -> None:
    torch.set_num_threads(2)
    model, segmenter = reference_model(), SamSegmenter(seeded_sam(SIZES[NAME]), NAME)
    image = image_named("landscape")
    height, width = image.shape[:2]
    pixels = segmenter.model.preprocess(segmenter.model.resize(image))
    scale = torch.tensor([1024 / width, 1024 / height])
    points = torch.tensor([[0.4 * width, 0.3 * height], [0.8 * width, 0.7 * height]])
    box, labels = torch.tensor([0.2 * width, 0.1 * height, 0.7 * width, 0.8 * height]), torch.tensor([1, 0])
    mask = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    ours = segmenter.embed(image)

    with torch.inference_mode():
        theirs = model.get_image_embeddings(pixels)

    assert difference(ours.features, theirs[-1]) <= TOLERANCE
    for has_points, has_box, has_mask in ((1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1)):
        for multimask in (True, False):
            found = segmenter.low_res_masks(
                ours,
                points[None] if has_points else None,
                labels[None] if has_points else None,
                box[None] if has_box else None,
                mask if has_mask else None,
                multimask=multimask,
            )
            with torch.inference_mode():
                expected = model(
                    image_embeddings=theirs,
                    input_points=(points * scale)[None, None] if has_points else None,
                    input_labels=labels[None, None] if has_points else None,
                    input_boxes=(box.view(2, 2) * scale).view(1, 1, 4) if has_box else None,
                    input_masks=mask if has_mask else None,
                    multimask_output=multimask,
                )

            assert difference(found.logits, expected.pred_masks[0]) <= TOLERANCE
            assert (found.iou_predictions - expected.iou_scores[0]).abs().max() <= TOLERANCE


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in parts of the range of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
