"""Embeddings, logits, predicted IoU and masks equal the reference's: segment-anything 1.0, and MobileSAM's fork of it.

Tolerance: float32 sums in another order differ by about 2e-6 of the logits' range; 1e-4 of it leaves room for other
processors, and is far below what any wrong layer does (see `test_a_wrong_layer_shows`).
"""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.sam.image_encoder import ImageEncoderViT
from sam_model.sam.sam import encoder_size, resize_for_encoder
from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam.sizes import SamSize, VitSize
from sam_model.types import Image, Point, Prompt
from sam_testing.reference_pairs import IMAGE_SIZES, Look, Pair, Question, image_named, reference_package
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, TINY_VIT_SAM, seeded_sam, values_for

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4  # of the range of the reference's values
WRONG_PIXELS = 1e-4  # of a mask


QUESTIONS = {
    "a point": Question([[[0.4, 0.3]]], [[1]]),
    "five mixed points": Question([[[0.1, 0.2], [0.8, 0.7], [0.5, 0.5], [0.3, 0.9], [0.0, 1.0]]], [[1, 0, 1, 1, 0]]),
    "a box": Question(boxes=[[0.2, 0.1, 0.7, 0.8]]),
    "a box with points": Question([[[0.4, 0.3], [0.6, 0.6]]], [[1, 0]], [[0.2, 0.1, 0.7, 0.8]]),
    "a mask input": Question([[[0.4, 0.3]]], [[1]], has_mask_input=True),
    "a batch of boxes": Question(boxes=[[0.2, 0.1, 0.7, 0.8], [0.0, 0.0, 1.0, 1.0], [0.5, 0.6, 0.55, 0.9]]),
}


@pytest.mark.parametrize("multimask", [True, False], ids=["three masks", "one mask"])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("image_name", IMAGE_SIZES)
def test_prompts_get_the_reference_s_answer(pair: Pair, image_name: str, question: Question, multimask: bool) -> None:
    look = pair.look(image_name)

    theirs_full, theirs_iou, theirs_low = reference_answer(look, question, multimask)
    ours = our_answer(pair, look, question, multimask)
    ours_full = pair.segmenter.full_size_logits(ours.logits.flatten(0, 1), look.embedding)

    assert difference(ours.logits, theirs_low) <= TOLERANCE
    assert (ours.iou_predictions - theirs_iou).abs().max() <= TOLERANCE  # they are of order 1
    assert difference(ours_full, theirs_full) <= TOLERANCE
    assert ((ours_full > 0) != (theirs_full > 0)).float().mean() <= WRONG_PIXELS


@pytest.mark.parametrize("image_name", IMAGE_SIZES)
def test_embeddings_are_the_reference_s(pair: Pair, image_name: str) -> None:
    look = pair.look(image_name)

    assert look.embedding.input_size == look.predictor.input_size
    assert difference(look.embedding.features, look.predictor.features) <= TOLERANCE


@pytest.mark.parametrize("image_name", IMAGE_SIZES)
def test_the_best_of_three_masks_is_the_one_with_the_highest_predicted_iou(pair: Pair, image_name: str) -> None:
    look = pair.look(image_name)
    height, width = look.image.shape[:2]
    x, y = 0.4 * width, 0.3 * height

    masks, iou, low = look.predictor.predict(np.array([[x, y]]), np.array([1]), multimask_output=True)
    answer = pair.segmenter.segment(look.embedding, [Prompt((Point(x, y),))])[0]

    best = int(iou.argmax())
    assert answer.score == pytest.approx(iou[best], abs=TOLERANCE)
    assert answer.low_res_logits is not None
    assert difference(torch.from_numpy(answer.low_res_logits), torch.from_numpy(low[best])) <= TOLERANCE
    assert (answer.mask != masks[best]).mean() <= WRONG_PIXELS


def test_the_random_weights_prove_something(pair: Pair) -> None:
    """Logits of order 1 that depend on place, image and prompt; masks that are neither empty nor full."""
    landscape, square = pair.look("landscape"), pair.look("square")

    point = our_answer(pair, landscape, QUESTIONS["a point"], multimask=True).logits[0]
    box = our_answer(pair, landscape, QUESTIONS["a box"], multimask=True).logits[0]
    elsewhere = our_answer(pair, square, QUESTIONS["a point"], multimask=True).logits[0]

    assert 0.5 < point.std() < 10
    assert (point - box).std() > 0.2
    assert (point - elsewhere).std() > 0.2
    assert 0.05 < (point > 0).float().mean() < 0.95


@pytest.mark.parametrize("size", [TINY_VIT_SAM, TINY_MOBILE_SAM], ids=lambda size: size.name)
def test_a_wrong_layer_shows(size: SamSize) -> None:
    """Each tensor of weights, wrong by 2 percent, breaks the tolerance of the tests above.

    Shown on small models, on one thread: two spend their time waiting for each other there.
    """
    torch.set_num_threads(1)
    model = seeded_sam(size)
    image = image_named("landscape")
    disc = mask_input()[..., ::8, ::8]  # (1, 1, 32, 32), for an image of 128 x 128
    right = everything_answered(SamSegmenter(model, size.name), image, disc)
    unnoticed = []
    noise = torch.Generator().manual_seed(0)

    for name, parameter in model.named_parameters():
        has_no_part = (
            "norm_head" in name
            or ".head." in name  # the classifier
            or "mlps.0." in name  # single masks
            or name.endswith("k_proj.bias")  # it adds the same to all logits of a query
        )
        if not has_no_part:
            before = parameter.clone()
            parameter += 0.02 * before.abs().mean() * torch.randn(before.shape, generator=noise)
            wrong = everything_answered(SamSegmenter(model, size.name), image, disc)  # it computes some parts once
            parameter.copy_(before)
            if max(difference(w, r) for w, r in zip(wrong, right, strict=True)) <= TOLERANCE:
                unnoticed.append(name)
    torch.set_num_threads(2)

    assert unnoticed == []


def test_pixels_are_resized_as_the_reference_resizes_them() -> None:
    from segment_anything.utils.transforms import ResizeLongestSide

    random = np.random.default_rng(0)
    shapes = [(1, 1), (1, 300), (3, 2), (1024, 1024), (1023, 1025), (2049, 3), *random.integers(5, 1500, (20, 2))]
    for height, width in shapes:
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)

        assert np.array_equal(
            resize_for_encoder(image, encoder_size(image.shape[:2], 1024)), ResizeLongestSide(1024).apply_image(image)
        )


@pytest.mark.parametrize(
    "size",
    [
        VitSize(width=1024, depth=2, heads=16, global_blocks=(1,)),
        VitSize(width=1280, depth=2, heads=16, global_blocks=(1,)),
    ],
    ids=["sam_l", "sam_h"],
)
def test_a_few_blocks_of_the_larger_encoders_equal_the_reference_s(size: VitSize) -> None:
    """One windowed and one global block in the width of SAM large and huge: all 24 or 32 would take minutes."""
    from functools import partial

    modeling = reference_package("sam_b").modeling
    theirs = modeling.ImageEncoderViT(
        depth=2,
        embed_dim=size.width,
        num_heads=size.heads,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=(1,),
    )
    ours = ImageEncoderViT(size, image_size=1024, outputs=256)
    state = {name: values_for(name, tensor, seed=0) for name, tensor in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    pixels = torch.from_numpy(resize_for_encoder(image_named("square"), (1024, 1024))).permute(2, 0, 1)[None] / 64 - 2

    with torch.inference_mode():
        assert difference(ours(pixels), theirs(pixels)) <= TOLERANCE


def everything_answered(segmenter: SamSegmenter, image: Image, disc: Tensor) -> list[Tensor]:
    """The embedding, and logits and predicted IoU for prompts of all kinds."""
    embedding = segmenter.embed(image)
    points, labels = torch.tensor([[[200.0, 110.0], [300.0, 200.0]]]), torch.tensor([[1, 0]])
    boxes = torch.tensor([[100.0, 40.0, 350.0, 300.0]])
    answers = [
        segmenter.low_res_masks(embedding, points, labels, mask_inputs=disc, multimask=True),
        segmenter.low_res_masks(embedding, points, labels, boxes, multimask=True),
    ]
    values = [values for answer in answers for values in (answer.logits, answer.iou_predictions)]
    return [embedding.features, *values]


def reference_answer(look: Look, question: Question, multimask: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Full-size logits (P * M, H, W), predicted IoU (P, M) and low-resolution logits (P, M, 256, 256)."""
    predictor, size = look.predictor, look.image.shape[:2]
    points, labels, boxes = in_pixels(look, question)
    full, iou, low = predictor.predict_torch(
        None if points is None else torch.tensor(predictor.transform.apply_coords(points, size), dtype=torch.float),
        None if labels is None else torch.tensor(labels, dtype=torch.int),
        None if boxes is None else torch.tensor(predictor.transform.apply_boxes(boxes, size), dtype=torch.float),
        mask_input() if question.has_mask_input else None,
        multimask_output=multimask,
        return_logits=True,
    )
    return full.flatten(0, 1), iou, low


def our_answer(pair: Pair, look: Look, question: Question, multimask: bool) -> Any:
    """`LowResMasks` of our segmenter."""
    return pair.segmenter.low_res_masks(look.embedding, **tensors(pair, look, question), multimask=multimask)


def tensors(pair: Pair, look: Look, question: Question) -> dict[str, Tensor]:
    """A question as arguments of `low_res_masks`."""
    points, labels, boxes = in_pixels(look, question)
    given = {"points": points, "labels": labels, "boxes": boxes}
    found = {name: torch.tensor(values) for name, values in given.items() if values is not None}
    return found | ({"mask_inputs": mask_input()} if question.has_mask_input else {})


def in_pixels(look: Look, question: Question) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """Points, labels and boxes of a question on an image."""
    height, width = look.image.shape[:2]
    points = None if question.points is None else np.array(question.points) * (width, height)
    boxes = None if question.boxes is None else np.array(question.boxes) * (width, height, width, height)
    return points, None if question.labels is None else np.array(question.labels), boxes


def mask_input() -> Tensor:
    """Logits as an earlier answer may have them, (1, 1, 256, 256): a soft disc."""
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    return (8 - ((x - 90) ** 2 + (y - 120) ** 2).sqrt() / 8)[None, None]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, in parts of the range of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
