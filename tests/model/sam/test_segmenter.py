import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from sam_model.images.decode import decode_image, decode_reduced
from sam_model.masks.cleaning import MaskCleaning
from sam_model.sam.mask_prompts import logits_from_mask
from sam_model.sam.prompt_batches import batch_prompts
from sam_model.sam.sam import encoder_size
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.types import Image, Point, Prompt, ScoredMask
from sam_model.weights.digest import weights_digest
from sam_testing.preparations import counted_preparations
from sam_testing.seeded_checkpoints import (
    TINY_EFFICIENT_TAM,
    TINY_HQ_SAM,
    TINY_MOBILE_SAM,
    TINY_SAM2,
    TINY_VIT_SAM,
    AnySize,
    seeded_sam,
)
from sam_testing.waiting_calls import call_at_once

LOW_RES = 32  # of the tiny models


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny_mobile_sam")


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embedding(segmenter: SamSegmenter, image: Image) -> SamEmbedding:
    return segmenter.embed(image)


CLICK = Prompt((Point(30, 20),))
BOX = Prompt(box=(10, 5, 50, 40))


def only_mask(segmenter: SamSegmenter, embedding: SamEmbedding, prompt: Prompt) -> ScoredMask:
    return segmenter.segment(embedding, [prompt])[0]


def same(one: ScoredMask, other: ScoredMask) -> bool:
    assert one.low_res_logits is not None
    assert other.low_res_logits is not None
    return (
        np.allclose(one.low_res_logits, other.low_res_logits, atol=1e-4)  # batches sum in another order
        and abs(one.score - other.score) < 1e-4
        and (one.mask != other.mask).mean() < 1e-3
    )


def test_a_mask_as_mask_input_equals_its_logits(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    mask = np.zeros((60, 90), dtype=bool)
    mask[10:40, 20:70] = True
    logits = logits_from_mask(mask, (85, 128), 128, LOW_RES)

    of_mask = only_mask(segmenter, embedding, replace(CLICK, mask=mask))

    assert same(of_mask, only_mask(segmenter, embedding, replace(CLICK, mask_input=logits)))
    assert not same(of_mask, only_mask(segmenter, embedding, CLICK))
    with pytest.raises(ValueError, match=r"\(90, 60\); needed: \(60, 90\)"):
        only_mask(segmenter, embedding, replace(CLICK, mask=np.ascontiguousarray(mask.T)))


def test_an_embedding_knows_where_it_comes_from(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    assert embedding.features.shape == (1, 32, 8, 8)
    assert embedding.image_size == (60, 90)
    assert embedding.input_size == (85, 128)  # 60 * 128 / 90 = 85.3
    assert embedding.fingerprint == segmenter.fingerprint
    assert embedding.dtype == "float32"
    assert embedding.nbytes == 32 * 8 * 8 * 4


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [((480, 640), (768, 1024)), ((1, 3000), (1, 1024)), ((1024, 1024), (1024, 1024)), ((3, 2), (1024, 683))],
)
def test_the_long_side_becomes_1024_pixels(image_size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert encoder_size(image_size, 1024) == expected


def test_answers_have_the_size_of_the_image(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    answer = only_mask(segmenter, embedding, BOX)

    assert answer.mask.shape == (60, 90)
    assert answer.mask.dtype == np.bool_
    assert answer.low_res_logits is not None
    assert answer.low_res_logits.shape == (LOW_RES, LOW_RES)
    assert answer.low_res_logits.dtype == np.float32


def test_prompts_of_all_shapes_are_answered_in_their_order(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    logits = only_mask(segmenter, embedding, CLICK).low_res_logits
    prompts = [
        CLICK,
        BOX,
        Prompt((Point(1, 2), Point(70, 50, is_positive=False))),
        Prompt((Point(80, 10),)),
        Prompt((Point(30, 20),), box=(10, 5, 50, 40)),
        Prompt((Point(30, 20),), mask_input=logits),
        Prompt(box=(20, 5, 90, 60)),
        Prompt(mask_input=logits),
    ]

    together = segmenter.segment(embedding, prompts)

    assert all(
        same(answer, only_mask(segmenter, embedding, prompt)) for answer, prompt in zip(together, prompts, strict=True)
    )
    assert not same(together[0], together[3])  # another place, another answer


def test_no_batch_is_larger_than_allowed(segmenter: SamSegmenter) -> None:
    prompts = [Prompt(box=(0, 0, i + 1, 9)) for i in range(7)] + [CLICK]

    batches = list(batch_prompts(prompts, (60, 90), LOW_RES, limit=3))

    assert [batch.indices for batch in batches] == [(0, 1, 2), (3, 4, 5), (6,), (7,)]


def test_many_batches_answer_like_one(image: Image) -> None:
    prompts = [Prompt(box=(0, 0, i + 5, 30)) for i in range(5)]
    one_batch = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny", prompts_per_batch=8)
    three_batches = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny", prompts_per_batch=2)

    one = one_batch.segment(one_batch.embed(image), prompts)
    three = three_batches.segment(three_batches.embed(image), prompts)

    assert all(same(a, b) for a, b in zip(one, three, strict=True))


def test_no_prompts_have_no_answers(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    assert segmenter.segment(embedding, []) == []


def test_a_single_click_gets_the_best_of_three(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    candidates = segmenter.low_res_masks(embedding, torch.tensor([[[30.0, 20.0]]]), torch.tensor([[1]]), multimask=True)
    best = int(candidates.iou_predictions[0].argmax())

    answer = only_mask(segmenter, embedding, CLICK)

    assert answer.alternatives == ()
    assert answer.score == pytest.approx(float(candidates.iou_predictions[0, best]))
    assert answer.low_res_logits is not None
    # the best mask alone is a product of other matrices, so the last bits differ
    np.testing.assert_allclose(answer.low_res_logits, candidates.logits[0, best].numpy(), atol=1e-5)


def test_all_three_come_on_request_best_first(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    answer = only_mask(segmenter, embedding, replace(CLICK, multimask=True))

    assert same(answer, only_mask(segmenter, embedding, CLICK))
    scores = [answer.score, *(other.score for other in answer.alternatives)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(other.mask.shape == (60, 90) for other in answer.alternatives)


@pytest.mark.parametrize(
    "prompt",
    [
        BOX,
        Prompt((Point(30, 20), Point(1, 2))),
        Prompt((Point(30, 20, is_positive=False),)),
        Prompt((Point(30, 20),), box=(10, 5, 50, 40)),
        Prompt((Point(30, 20),), mask_input=np.zeros((LOW_RES, LOW_RES), np.float32)),
        replace(CLICK, multimask=False),
    ],
    ids=["box", "two clicks", "negative click", "click in a box", "click on a mask", "on request"],
)
def test_more_evidence_asks_for_one_mask(segmenter: SamSegmenter, embedding: SamEmbedding, prompt: Prompt) -> None:
    one_mask = only_mask(segmenter, embedding, replace(prompt, multimask=False))

    answer = only_mask(segmenter, embedding, prompt)

    assert answer.alternatives == ()
    assert same(answer, one_mask)


def test_logits_of_an_answer_are_taken_back(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    first = only_mask(segmenter, embedding, CLICK)
    assert first.low_res_logits is not None
    again = Prompt((Point(30, 20), Point(60, 40)), mask_input=first.low_res_logits)

    answer = only_mask(segmenter, embedding, again)

    assert same(answer, only_mask(segmenter, embedding, replace(again, mask_input=first.low_res_logits[None])))
    assert not same(answer, only_mask(segmenter, embedding, replace(again, mask_input=None)))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(), "empty"),
        (Prompt((Point(90.5, 3),)), r"\(90\.5, 3\) is outside the image of 90 x 60"),
        (Prompt((Point(3, -1),)), r"\(3, -1\) is outside"),
        (Prompt((Point(float("nan"), 3),)), r"\(nan, 3\)"),
        (Prompt(box=(1, 2, float("inf"), 4)), "inf"),
        (Prompt(box=(40, 5, 10, 30)), r"\(40, 5, 10, 30\) has no area"),
        (Prompt(box=(10, 5, 10, 30)), "no area"),
        (Prompt(box=(100, 5, 110, 30)), "outside the image"),
        (Prompt(mask_input=np.zeros((64, 64), np.float32)), r"\(64, 64\).*\(32, 32\)"),
        (Prompt(mask_input=np.zeros((2, 32, 32), np.float32)), r"\(2, 32, 32\)"),
        (Prompt(mask_input=np.full((32, 32), np.nan, np.float32)), "not finite"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_named(
    segmenter: SamSegmenter, embedding: SamEmbedding, prompt: Prompt, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        segmenter.segment(embedding, [CLICK, prompt])


def test_the_edges_belong_to_the_image(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    answers = segmenter.segment(embedding, [Prompt((Point(90, 60),)), Prompt(box=(-5, -5, 95, 65))])

    assert len(answers) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "empty"),
        ({"points": torch.zeros(1, 2, 2), "labels": torch.ones(1, 3)}, r"\(1, 2, 2\) and labels \(1, 3\)"),
        ({"points": torch.zeros(1, 2, 2)}, "labels None"),
        ({"boxes": torch.zeros(4)}, r"boxes of shape \(4,\)"),
        ({"mask_inputs": torch.zeros(1, 1, 8, 8)}, r"\(1, 1, 8, 8\)"),
        ({"boxes": torch.zeros(2, 4), "mask_inputs": torch.zeros(3, 1, 32, 32)}, r"\[2, 3\]"),
    ],
)
def test_tensors_that_do_not_belong_together_are_named(
    segmenter: SamSegmenter, embedding: SamEmbedding, arguments: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        segmenter.low_res_masks(embedding, **arguments, multimask=True)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((5, 6), np.uint8), r"uint8 \(5, 6\)"),
        (np.zeros((5, 6, 4), np.uint8), r"\(5, 6, 4\)"),
        (np.zeros((5, 6, 3), np.float32), "float32"),
        (np.zeros((0, 6, 3), np.uint8), r"\(0, 6, 3\)"),
        ([[1, 2, 3]], "list"),
    ],
)
def test_what_is_no_rgb_image_is_named(segmenter: SamSegmenter, picture: Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmenter.embed(picture)


def test_a_mirrored_view_of_an_image_is_looked_at_like_a_copy(segmenter: SamSegmenter, image: Image) -> None:
    view = segmenter.embed(image[:, ::-1])
    copied = segmenter.embed(image[:, ::-1].copy())

    assert torch.equal(view.features, copied.features)


def test_the_embedding_of_another_model_is_refused(embedding: SamEmbedding) -> None:
    other = SamSegmenter(seeded_sam(TINY_MOBILE_SAM, seed=1), "tiny_mobile_sam")

    with pytest.raises(ValueError, match=embedding.fingerprint):
        other.segment(embedding, [CLICK])


def test_a_fingerprint_names_model_weights_precision_and_settings() -> None:
    def fingerprint(seed: int = 0, dtype: str = "float32", cleaning: MaskCleaning | None = None) -> str:
        return SamSegmenter(seeded_sam(TINY_VIT_SAM, seed), "tiny", "cpu", dtype, cleaning).fingerprint

    plain = fingerprint()

    assert plain == f"tiny-{weights_digest(seeded_sam(TINY_VIT_SAM))}-float32"
    assert fingerprint() == plain
    assert fingerprint(seed=1) != plain
    assert fingerprint(dtype="bfloat16") == plain.replace("float32", "bfloat16")
    assert fingerprint(cleaning=MaskCleaning(min_hole_area=20)) == f"{plain}-holes20"


def test_one_changed_number_changes_the_fingerprint() -> None:
    model = seeded_sam(TINY_VIT_SAM)
    before = weights_digest(model)

    with torch.no_grad():
        model.get_parameter("mask_decoder.iou_token.weight")[0, 3] += 1e-6

    assert weights_digest(model) != before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("size", [TINY_VIT_SAM, TINY_MOBILE_SAM], ids=lambda size: size.name)
def test_lower_precision_gives_nearly_the_same_masks(size: type, dtype: str, image: Image) -> None:
    exact = SamSegmenter(seeded_sam(size), "tiny")
    coarse = SamSegmenter(seeded_sam(size), "tiny", dtype=dtype)

    embedding = coarse.embed(image)
    answer = only_mask(coarse, embedding, BOX)
    expected = only_mask(exact, exact.embed(image), BOX)

    assert embedding.dtype == dtype
    assert answer.low_res_logits is not None
    assert answer.low_res_logits.dtype == np.float32
    iou = (answer.mask & expected.mask).sum() / (answer.mask | expected.mask).sum()
    assert iou > 0.97  # random weights: many logits hug the threshold


def test_threads_share_a_segmenter(segmenter: SamSegmenter) -> None:
    random = np.random.default_rng(5)
    images = [random.integers(0, 256, (40 + 10 * i, 50, 3), dtype=np.uint8) for i in range(4)]
    expected = [only_mask(segmenter, segmenter.embed(image), BOX) for image in images]
    found: dict[int, ScoredMask] = {}

    def work(i: int) -> None:
        for _ in range(3):
            found[i] = only_mask(segmenter, segmenter.embed(images[i]), BOX)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(same(found[i], expected[i]) for i in range(4))


def test_cleaning_is_done_to_masks_and_not_to_logits(segmenter: SamSegmenter, image: Image) -> None:
    cleaner = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny_mobile_sam", cleaning=MaskCleaning(0, 10**6))
    plain = only_mask(segmenter, segmenter.embed(image), BOX)

    cleaned = only_mask(cleaner, cleaner.embed(image), BOX)

    assert 0 < cleaned.mask.sum() < plain.mask.sum()  # the largest of several parts is left
    assert cleaned.low_res_logits is not None
    assert np.array_equal(cleaned.low_res_logits, plain.low_res_logits)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_here_is_named(device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}'"):
        SamSegmenter(seeded_sam(TINY_VIT_SAM), "tiny", device=device)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ValueError, match=r"'float8'.*bfloat16"):
        SamSegmenter(seeded_sam(TINY_VIT_SAM), "tiny", dtype="float8")


def test_masks_of_low_predicted_iou_are_not_computed(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    points = torch.tensor([[[10.0 * x, 20.0]] for x in range(5)])
    labels = torch.ones(5, 1, dtype=torch.int64)
    everything = segmenter.low_res_masks(embedding, points, labels, multimask=True)
    least = float(everything.iou_predictions.max(dim=1).values.sort().values[1])  # two prompts are not above it

    found = segmenter.low_res_masks(embedding, points, labels, multimask=True, min_iou=least)
    nothing = segmenter.low_res_masks(embedding, points, labels, multimask=True, min_iou=9.0)

    is_wanted = (everything.iou_predictions > least).any(1)
    assert is_wanted.sum() == 3
    torch.testing.assert_close(found.iou_predictions, everything.iou_predictions)
    torch.testing.assert_close(found.logits[is_wanted], everything.logits[is_wanted], atol=1e-5, rtol=0)
    assert not found.logits[~is_wanted].any()
    assert nothing.logits.shape == everything.logits.shape
    assert not nothing.logits.any()


def test_what_prompts_share_is_computed_once_and_again_after_it_was_dropped(
    segmenter: SamSegmenter, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_preparations(monkeypatch)
    embedding = segmenter.embed(image)
    assert embedding.shared_nbytes == 0

    segmenter.prepare(embedding)
    segmenter.prepare(embedding)
    first = only_mask(segmenter, embedding, CLICK)
    assert (len(calls), embedding.shared_nbytes > embedding.nbytes) == (1, True)
    embedding.drop_shared()
    assert embedding.shared_nbytes == 0
    again = only_mask(segmenter, embedding, CLICK)

    assert len(calls) == 2
    assert np.array_equal(again.low_res_logits, first.low_res_logits)


def test_an_embedding_of_another_model_is_not_prepared(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    with pytest.raises(ValueError, match="made by 'other'"):
        segmenter.prepare(replace(embedding, fingerprint="other"))


@pytest.mark.parametrize("size", [TINY_VIT_SAM, TINY_MOBILE_SAM, TINY_HQ_SAM, TINY_SAM2, TINY_EFFICIENT_TAM])
def test_images_that_several_threads_embed_at_once_are_one_batch(
    size: AnySize, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (60 + 20 * i, 90, 3), dtype=np.uint8) for i in range(3)]
    alone = SamSegmenter(seeded_sam(size), "tiny")
    together = SamSegmenter(seeded_sam(size), "tiny", images_at_once=3)
    encode, batches = together.model.encode, []

    def counted(pixels: torch.Tensor) -> object:
        batches.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(together.model, "encode", counted)
    found = call_at_once(together._batches, together.embed, images)

    assert batches == [3]
    for image, one in zip(images, found, strict=True):
        other = alone.embed(image)
        assert (one.image_size, one.input_size) == (other.image_size, other.input_size)
        for tensor, expected in zip(one.tensors, other.tensors, strict=True):
            assert torch.allclose(tensor, expected, atol=1e-4)  # batches sum in another order
            assert tensor.untyped_storage().nbytes() == tensor.nbytes  # nothing of the other images is kept


def test_float32_in_pytorch_needs_whole_images() -> None:
    exact = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny_mobile_sam", reduces_images=True)

    assert exact.least_size((3000, 4000)) == (3000, 4000)
    assert exact.fingerprint == SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny_mobile_sam").fingerprint


@pytest.mark.parametrize("size", [TINY_MOBILE_SAM, TINY_SAM2])
def test_an_embedding_of_a_reduced_image_is_that_of_the_whole(size: AnySize) -> None:
    whole, reducing = (
        SamSegmenter(seeded_sam(size), "tiny", dtype="bfloat16", reduces_images=reduces) for reduces in (False, True)
    )
    noise = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = cv2.resize(noise, (801, 535), interpolation=cv2.INTER_CUBIC)  # its half would become 86 rows, not 85
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()

    reduced = decode_reduced(data, reducing.least_size)
    found = reducing.embed_reduced(reduced.pixels, reduced.image_size)

    expected = whole.embed(decode_image(data))
    assert reduced.pixels.shape == (268, 401, 3)
    assert whole.least_size((535, 801)) == (535, 801)
    assert found.fingerprint == f"{whole.fingerprint}-reduced"
    assert (found.image_size, found.input_size) == (expected.image_size, expected.input_size)
    similarity = torch.nn.functional.cosine_similarity(found.features.float(), expected.features.float(), dim=1)
    assert similarity.mean() > 0.99  # bfloat16 of random weights
    assert only_mask(reducing, found, CLICK).mask.shape == (535, 801)


def test_no_prompt_copies_what_all_images_share() -> None:
    segmenter = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    embedding = segmenter.embed(np.zeros((60, 90, 3), np.uint8))
    segmenter.prepare(embedding)

    assert all(part.is_contiguous() for part in segmenter._place_parts)
