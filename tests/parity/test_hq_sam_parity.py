"""Embeddings, logits, predicted IoU and masks equal those of HQ-SAM's authors: PyPI `segment-anything-hq` 0.3.

The comparison is that of `test_sam_parity.py`, with the same tolerance.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_model.sam.hq_sam import HqMaskDecoder
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.sam.sizes import HQ_SIZES
from sam_model.sam_checkpoints import empty_sam
from sam_testing.reference_pairs import image_named
from sam_testing.seeded_checkpoints import key_lines, seeded_sam, seeded_state

pytestmark = pytest.mark.parity
LARGE = pytest.mark.slow  # minutes and gigabytes: `tests/parity/run -m parity` runs these too

GOLDEN = Path(__file__).parent.parent / "golden"
TOLERANCE = 1e-4  # of the range of the reference's values
WRONG_PIXELS = 1e-4  # of a mask
REFERENCE_NAMES = {"sam_hq_tiny": "vit_tiny", "sam_hq_b": "vit_b", "sam_hq_l": "vit_l", "sam_hq_h": "vit_h"}
IMAGES = ("landscape", "tiny")
QUESTIONS: dict[str, dict[str, Any]] = {  # in shares of the image's sides
    "a point": {"points": [[[0.4, 0.3]]], "labels": [[1]]},
    "mixed points": {"points": [[[0.1, 0.2], [0.8, 0.7], [0.5, 0.5]]], "labels": [[1, 0, 1]]},
    "a box": {"boxes": [[0.2, 0.1, 0.7, 0.8]]},
    "a box with points": {"points": [[[0.4, 0.3]]], "labels": [[0]], "boxes": [[0.2, 0.1, 0.7, 0.8]]},
    "a mask and a point": {"points": [[[0.4, 0.3]]], "labels": [[1]], "has_mask_input": True},
    "two boxes": {"boxes": [[0.2, 0.1, 0.7, 0.8], [0.5, 0.6, 0.55, 0.9]]},
}


def reference_package() -> Any:
    """Return the authors' package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses old names of timm's
        import segment_anything_hq

        return segment_anything_hq


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    torch.set_num_threads(2)
    return SamSegmenter(seeded_sam(HQ_SIZES["sam_hq_tiny"]), "sam_hq_tiny")


@pytest.fixture(scope="module", params=IMAGES)
def embedded(request: pytest.FixtureRequest, segmenter: SamSegmenter) -> tuple[Any, SamEmbedding]:
    """The authors' predictor with its image set, and our embedding of the image."""
    package = reference_package()
    reference = package.sam_model_registry["vit_tiny"]()
    reference.load_state_dict(seeded_state(HQ_SIZES["sam_hq_tiny"]))
    predictor = package.SamPredictor(reference.eval())
    predictor.set_image(image_named(request.param))
    return predictor, segmenter.embed(image_named(request.param))


@pytest.mark.parametrize("multimask", [True, False], ids=["best of three", "one mask"])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_prompts_get_the_reference_s_answer(
    segmenter: SamSegmenter, embedded: tuple[Any, SamEmbedding], question: dict[str, Any], multimask: bool
) -> None:
    predictor, embedding = embedded

    full, iou, low = reference_answer(predictor, embedding.image_size, question, multimask)
    ours = segmenter.low_res_masks(embedding, **in_pixels(embedding.image_size, question), multimask=multimask)
    ours_full = segmenter.full_size_logits(ours.logits.flatten(0, 1), embedding)

    assert difference(ours.logits, low) <= TOLERANCE
    assert (ours.iou_predictions - iou).abs().max() <= TOLERANCE
    assert difference(ours_full, full.flatten(0, 1)) <= TOLERANCE
    assert ((ours_full > 0) != (full.flatten(0, 1) > 0)).float().mean() <= WRONG_PIXELS


def test_the_details_change_the_masks(segmenter: SamSegmenter, embedded: tuple[Any, SamEmbedding]) -> None:
    """Otherwise the comparisons above would prove nothing about them: SAM's own mask is far from the sum."""
    predictor, embedding = embedded
    question = QUESTIONS["a box"]

    _, _, low = reference_answer(predictor, embedding.image_size, question, multimask=False)
    decoder = segmenter.model.mask_decoder
    assert isinstance(decoder, HqMaskDecoder)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder.hf_mlp, "forward", lambda token: torch.zeros(len(token), 32))
        without = segmenter.low_res_masks(embedding, **in_pixels(embedding.image_size, question), multimask=False)

    assert difference(without.logits, low) > 100 * TOLERANCE


@pytest.mark.parametrize(
    "name", ["sam_hq_b", pytest.param("sam_hq_l", marks=LARGE), pytest.param("sam_hq_h", marks=LARGE)]
)
def test_the_other_sizes_equal_the_reference_s(name: str) -> None:
    """One after the other, with one set of weights for both: the largest has 2.6 GB."""
    torch.set_num_threads(2)
    package, image, question = reference_package(), image_named("landscape"), QUESTIONS["a box with points"]
    state = seeded_state(HQ_SIZES[name])
    with torch.device("meta"):
        reference = package.sam_model_registry[REFERENCE_NAMES[name]]()
    for buffer in ("pixel_mean", "pixel_std"):  # no part of a checkpoint
        value = torch.tensor([123.675, 116.28, 103.53] if buffer == "pixel_mean" else [58.395, 57.12, 57.375])
        reference.register_buffer(buffer, value.view(-1, 1, 1), persistent=False)
    reference.load_state_dict(state, assign=True)
    predictor = package.SamPredictor(reference.eval())
    predictor.set_image(image)
    ours_model = empty_sam(HQ_SIZES[name])
    ours_model.load_state_dict(state, assign=True)
    segmenter = SamSegmenter(ours_model, name)
    embedding = segmenter.embed(image)

    for multimask in (True, False):
        _, iou, low = reference_answer(predictor, embedding.image_size, question, multimask)
        ours = segmenter.low_res_masks(embedding, **in_pixels(embedding.image_size, question), multimask=multimask)

        assert difference(embedding.features, predictor.features) <= TOLERANCE
        assert difference(ours.logits, low) <= TOLERANCE
        assert (ours.iou_predictions - iou).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", HQ_SIZES)
def test_keys_and_shapes_are_the_reference_s(name: str) -> None:
    device = "cpu" if name == "sam_hq_tiny" else "meta"  # its TinyViT reads numbers while it is made
    with torch.device(device):
        reference = reference_package().sam_model_registry[REFERENCE_NAMES[name]]()

    theirs = key_lines(reference.state_dict())

    assert key_lines(empty_sam(HQ_SIZES[name]).state_dict()) == theirs
    assert (GOLDEN / f"{name}_keys.txt").read_text().splitlines() == theirs


def reference_answer(
    predictor: Any, size: tuple[int, int], question: dict[str, Any], multimask: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the authors' logits of full size (P, 1, H, W), predicted IoU (P, 1) and logits (P, 1, 256, 256)."""
    given = in_pixels(size, question)
    points, boxes = given.get("points"), given.get("boxes")
    answer: tuple[Tensor, Tensor, Tensor] = predictor.predict_torch(
        None if points is None else torch.tensor(predictor.transform.apply_coords(points.numpy(), size)).float(),
        given.get("labels"),
        None if boxes is None else torch.tensor(predictor.transform.apply_boxes(boxes.numpy(), size)).float(),
        given.get("mask_inputs"),
        multimask_output=multimask,
        return_logits=True,
    )
    return answer


def in_pixels(size: tuple[int, int], question: dict[str, Any]) -> dict[str, Tensor]:
    """Return a question on an image as arguments of `low_res_masks`."""
    height, width = size
    prompts: dict[str, Tensor] = {}
    if "points" in question:
        prompts["points"] = torch.from_numpy(np.array(question["points"]) * (width, height))
        prompts["labels"] = torch.tensor(question["labels"])
    if "boxes" in question:
        prompts["boxes"] = torch.from_numpy(np.array(question["boxes"]) * (width, height, width, height))
    if "has_mask_input" in question:
        y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
        prompts["mask_inputs"] = (8 - ((x - 90) ** 2 + (y - 120) ** 2).sqrt() / 8)[None, None]
    return prompts


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in parts of the range of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
