"""EfficientTAM equals a model that is composed of parts of its authors' and Meta's code.

These are SAM's plain vision transformer without relative positions (segment-anything 1.0), and SAM 2's decoder without
maps of a higher resolution (sam2 1.1.0). The composition follows EfficientTAM's configurations; its own package is not
on PyPI.
"""

import warnings
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam.sizes import VitSize
from sam_model.sam2.sizes import Sam2Size
from sam_model.sam_checkpoints import SIZES
from sam_testing.reference_pairs import image_named
from sam_testing.seeded_checkpoints import seeded_sam, seeded_state

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # of the range of the reference's values
NAMES_OF_MODELS = ("efficienttam_ti", "efficienttam_ti_512x512", "efficienttam_s_512x512")
QUESTIONS: dict[str, dict[str, Any]] = {
    "a point": {"point_coords": np.array([[120.0, 90.0]]), "point_labels": np.array([1])},
    "two points": {"point_coords": np.array([[120.0, 90.0], [300.0, 200.0]]), "point_labels": np.array([1, 0])},
    "a box": {"box": np.array([60.0, 30.0, 350.0, 280.0])},
}
NAMES = {  # ours: theirs
    "trunk.patch_embed": "patch_embed",
    "mlp.layers.0": "mlp.lin1",
    "mlp.layers.1": "mlp.lin2",
    "trunk.blocks": "blocks",
    "neck.convs.0.conv_1x1": "neck.0",
    "neck.convs.0.norm_0": "neck.1",
    "neck.convs.0.conv_3x3": "neck.2",
    "neck.convs.0.norm_1": "neck.3",
}


class ReferenceEncoder(nn.Module):
    """SAM's image encoder with the output of SAM 2's."""

    def __init__(self, state: dict[str, Tensor], size: Sam2Size) -> None:
        from segment_anything.modeling import ImageEncoderViT

        super().__init__()
        self.neck = SimpleNamespace(d_model=256)
        assert isinstance(size.encoder, VitSize)
        width = size.encoder.width
        self.vit = ImageEncoderViT(
            img_size=size.image_size,
            depth=12,
            embed_dim=width,
            num_heads=width // 64,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            window_size=14,
            global_attn_indexes=(2, 5, 8, 11),
        )
        self.vit.load_state_dict(renamed(state, size.image_size // 16))

    def forward(self, x: Tensor) -> dict[str, Any]:
        features = self.vit(x)
        return {"vision_features": features, "vision_pos_enc": [features], "backbone_fpn": [features]}


def renamed(state: dict[str, Tensor], grid: int) -> dict[str, Tensor]:
    """Return the encoder's tensors under SAM's names, with positions for all its places."""
    prefix, found = "image_encoder.", {}
    for key, tensor in state.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            for ours, theirs in NAMES.items():
                name = name.replace(ours, theirs)
            found[name] = tensor
    places = found.pop("trunk.pos_embed")[:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    found["pos_embed"] = F.interpolate(places, (grid, grid), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    return found


def reference_predictor(name: str) -> Any:
    from sam2.modeling.sam2_base import SAM2Base
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    size = SIZES[name]
    assert isinstance(size, Sam2Size)
    state = seeded_state(size)
    model = SAM2Base(
        ReferenceEncoder(state, size),
        memory_attention=nn.Identity(),
        memory_encoder=nn.Identity(),
        image_size=size.image_size,
        directly_add_no_mem_embed=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    )
    others = {key: tensor for key, tensor in state.items() if not key.startswith("image_encoder.")}
    assert not model.load_state_dict(others, strict=False).unexpected_keys
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.script is deprecated
        predictor = SAM2ImagePredictor(model.eval())
    predictor._bb_feat_sizes = [(size.grid, size.grid)]  # it has those of 1024 pixels
    return predictor


@pytest.mark.parametrize("name", NAMES_OF_MODELS)
def test_embedding_and_masks_are_those_of_the_composed_reference(name: str) -> None:
    torch.set_num_threads(2)
    image = image_named("landscape")
    predictor = reference_predictor(name)
    segmenter = SamSegmenter(seeded_sam(SIZES[name]), name)

    predictor.set_image(image)
    embedding = segmenter.embed(image)

    assert difference(embedding.features, predictor._features["image_embed"]) <= TOLERANCE
    for question in QUESTIONS.values():
        for multimask in (False, True):
            _, iou, low = predictor.predict(**question, multimask_output=multimask)
            ours = segmenter.low_res_masks(embedding, **as_tensors(question), multimask=multimask)

            assert difference(ours.logits[0].clamp(-32, 32), torch.from_numpy(low)) <= TOLERANCE
            assert np.abs(ours.iou_predictions[0].numpy() - iou).max() <= TOLERANCE


def as_tensors(question: dict[str, Any]) -> dict[str, Tensor]:
    """Return a question as arguments of `low_res_masks`."""
    names = {"point_coords": "points", "point_labels": "labels", "box": "boxes"}
    return {names[key]: torch.from_numpy(value)[None] for key, value in question.items()}


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in parts of the range of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
