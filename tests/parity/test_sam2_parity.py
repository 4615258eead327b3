"""Embeddings, logits, predicted IoU and masks equal those of SAM 2's authors: PyPI `sam2` 1.1.0.

Tolerance: as in `test_sam_parity.py`. `test_a_mutant_shows` proves that the comparison notices a wrong normalisation,
padding, position embedding and more.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.automatic_masks import segment_everything
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.sam2 import hiera, mask_decoder, sam2
from sam_model.sam2.mask_decoder import stable_mask
from sam_model.sam2.sizes import MEMORY_KEYS, SIZES
from sam_model.types import Image, Point, Prompt
from sam_testing.reference_pairs import IMAGE_SIZES, Question, image_named
from sam_testing.seeded_checkpoints import key_lines, seeded_sam, seeded_state

pytestmark = pytest.mark.parity
LARGE = pytest.mark.slow  # minutes and gigabytes: `tests/parity/run -m parity` runs these too

GOLDEN = Path(__file__).parent.parent / "golden"
TOLERANCE = 1e-4  # of the range of the reference's values
WRONG_PIXELS = 1e-4  # of a mask
CONFIGURATIONS = {
    "sam2.1_hiera_tiny": "sam2.1_hiera_t",
    "sam2.1_hiera_small": "sam2.1_hiera_s",
    "sam2.1_hiera_base_plus": "sam2.1_hiera_b+",
    "sam2.1_hiera_large": "sam2.1_hiera_l",
}
IMAGES = ("landscape", "portrait", "square", "tiny", "panorama", "tower", "input size", "wide")  # of 8 aspect ratios
IMAGE_SIZES.update({"panorama": (300, 1800), "tower": (800, 200), "input size": (1024, 1024), "wide": (432, 768)})


QUESTIONS = {
    "a point": Question([[[0.4, 0.3]]], [[1]]),
    "five mixed points": Question([[[0.1, 0.2], [0.8, 0.7], [0.5, 0.5], [0.3, 0.9], [0.0, 1.0]]], [[1, 0, 1, 1, 0]]),
    "a box": Question(boxes=[[0.2, 0.1, 0.7, 0.8]]),
    "a box with points": Question([[[0.4, 0.3], [0.6, 0.6]]], [[1, 0]], [[0.2, 0.1, 0.7, 0.8]]),
    "a mask and a point": Question([[[0.4, 0.3]]], [[1]], has_mask_input=True),
    "a mask": Question(has_mask_input=True),
    "a batch of boxes": Question(boxes=[[0.2, 0.1, 0.7, 0.8], [0.0, 0.0, 1.0, 1.0], [0.5, 0.6, 0.55, 0.9]]),
}


@dataclass(frozen=True)
class Answer:
    """Logits of full size (P * M, H, W), predicted IoU (P, M) and low-resolution logits (P, M, 256, 256)."""

    full: Tensor
    iou: Tensor
    low: Tensor


@dataclass
class Pair:
    """The authors' model and our segmenter with the same weights."""

    name: str
    segmenter: SamSegmenter
    reference: Any  # sam2.modeling.sam2_base.SAM2Base
    embeddings: dict[str, tuple[Any, SamEmbedding]] = field(default_factory=dict)

    def embed(self, image_name: str) -> tuple[Any, SamEmbedding]:
        """Return the authors' predictor with its image set, and our embedding; each image is embedded once."""
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        if image_name not in self.embeddings:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.jit.script is deprecated
                predictor = SAM2ImagePredictor(self.reference)
            predictor.set_image(image_named(image_name))
            self.embeddings[image_name] = predictor, self.segmenter.embed(image_named(image_name))
        return self.embeddings[image_name]


def authors_model(name: str, device: str = "cpu") -> Any:
    """Return the authors' model with PyTorch's random values."""
    from sam2.build_sam import build_sam2

    return build_sam2(f"configs/sam2.1/{CONFIGURATIONS[name]}.yaml", device=device)


@cache
def pair_called(name: str) -> Pair:
    """Return the pair of a model."""
    torch.set_num_threads(2)
    reference = authors_model(name)
    unused = reference.load_state_dict(seeded_state(SIZES[name]), strict=False)
    assert not unused.unexpected_keys
    assert {key.split(".")[0] for key in unused.missing_keys} <= set(MEMORY_KEYS)
    return Pair(name, SamSegmenter(seeded_sam(SIZES[name]), name), reference)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Return the pair of the smallest model."""
    return pair_called("sam2.1_hiera_tiny")


@pytest.mark.parametrize("image_name", IMAGES)
def test_the_three_tensors_of_an_embedding_are_the_reference_s(pair: Pair, image_name: str) -> None:
    predictor, embedding = pair.embed(image_name)

    assert largest_difference(tensors_of(embedding), features_of(predictor)) <= TOLERANCE


@pytest.mark.parametrize("multimask", [True, False], ids=["three masks", "one mask"])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("image_name", IMAGES)
def test_prompts_get_the_reference_s_answer(pair: Pair, image_name: str, question: Question, multimask: bool) -> None:
    predictor, embedding = pair.embed(image_name)

    theirs = reference_answer(predictor, question, multimask)
    ours = our_answer(pair.segmenter, embedding, question, multimask)

    assert ours.low.shape == theirs.low.shape
    assert answers_differ(ours, theirs) <= TOLERANCE
    assert ((ours.full > 0) != (theirs.full > 0)).float().mean() <= WRONG_PIXELS


def test_the_best_of_three_masks_and_its_logits_are_the_reference_s(pair: Pair) -> None:
    predictor, embedding = pair.embed("landscape")
    height, width = embedding.image_size
    x, y = 0.4 * width, 0.3 * height

    masks, iou, low = predictor.predict(np.array([[x, y]]), np.array([1]), multimask_output=True)
    answer = pair.segmenter.segment(embedding, [Prompt((Point(x, y),))])[0]

    best = int(iou.argmax())
    assert answer.score == pytest.approx(iou[best], abs=TOLERANCE)
    assert answer.low_res_logits is not None
    assert difference(torch.from_numpy(answer.low_res_logits), torch.from_numpy(low[best])) <= TOLERANCE
    assert (answer.mask != masks[best]).mean() <= WRONG_PIXELS


def test_a_single_mask_that_is_not_stable_is_replaced_as_by_the_reference(pair: Pair) -> None:
    predictor, embedding = pair.embed("portrait")

    with weak_single_mask(pair):
        for question in QUESTIONS.values():
            theirs = reference_answer(predictor, question, multimask=False)
            ours = our_answer(pair.segmenter, embedding, question, multimask=False)
            three = our_answer(pair.segmenter, embedding, question, multimask=True)

            assert answers_differ(ours, theirs) <= TOLERANCE
            for one, others in zip(ours.low, three.low, strict=True):  # one of the three
                assert min(difference(one[0], other) for other in others) <= TOLERANCE


def test_stable_masks_are_chosen_as_by_the_reference(pair: Pair) -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn((64, 4, 16, 16), generator=random) * torch.logspace(-2, 2, 64)[:, None, None, None]
    logits[0] = -1.0
    iou = torch.rand((64, 4), generator=random)

    theirs = pair.reference.sam_mask_decoder._dynamic_multimask_via_stability(logits, iou)

    assert all(torch.equal(ours, other) for ours, other in zip(stable_mask(logits, iou), theirs, strict=True))


def test_everything_is_the_reference_s(pair: Pair) -> None:
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    settings = {
        "points_per_side": 5,
        "pred_iou_thresh": 0.3,
        "stability_score_thresh": 0.5,
        "box_nms_thresh": 1.0,  # random masks have similar boxes
    }
    image = image_named("landscape")[:240, :320]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.script is deprecated
        theirs = SAM2AutomaticMaskGenerator(pair.reference, **settings).generate(image)
    ours = segment_everything(pair.segmenter, image, AutomaticMaskSettings(**settings))

    assert len(ours) == len(theirs) > 3
    for one, other in zip(ours, theirs, strict=True):
        assert one.predicted_iou == pytest.approx(other["predicted_iou"], abs=TOLERANCE)
        assert one.point == pytest.approx(tuple(other["point_coords"][0]), abs=1e-3)
        assert (one.mask != other["segmentation"]).mean() <= WRONG_PIXELS


@contextmanager
def weak_single_mask(pair: Pair) -> Iterator[None]:
    """In both models the logits of mask 0 are small, so that it is not stable."""
    layer = "output_hypernetworks_mlps.0.layers.2"
    layers = [model.sam_mask_decoder.get_submodule(layer) for model in (pair.reference, pair.segmenter.model)]
    before = [(one.weight.clone(), one.bias.clone()) for one in layers]
    with torch.no_grad():
        for one in layers:
            one.weight *= 0.01
            one.bias *= 0.01
        yield
        for one, (weight, bias) in zip(layers, before, strict=True):
            one.weight.copy_(weight)
            one.bias.copy_(bias)


@contextmanager
def normalised_by_255_only(segmenter: SamSegmenter) -> Iterator[None]:
    """No means and deviations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(segmenter.model), "preprocess", lambda self, pixels: pixels / 255)
        yield


@contextmanager
def blue_first(segmenter: SamSegmenter) -> Iterator[None]:
    """Channels in another order."""
    resize = sam2.Sam2.resize
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sam2.Sam2, "resize", lambda self, image, size=None: resize(self, image, size).flip(1))
        yield


@contextmanager
def padded(segmenter: SamSegmenter) -> Iterator[None]:
    """Resized to the long side and padded, as for SAM 1."""

    def resize(self: sam2.Sam2, image: Image, input_size: tuple[int, int] | None = None) -> Tensor:
        scale = self.image_size / max(image.shape[:2])
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, scale_factor=scale, mode="bilinear", antialias=True)
        return F.pad(pixels, (0, self.image_size - pixels.shape[-1], 0, self.image_size - pixels.shape[-2]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sam2.Sam2, "resize", resize)
        yield


@contextmanager
def aliased(segmenter: SamSegmenter) -> Iterator[None]:
    """Resized without antialiasing."""
    plain = F.interpolate

    def interpolate(x: Tensor, size: Any = None, **keywords: Any) -> Tensor:
        return plain(x, size, **keywords | ({"antialias": False} if "antialias" in keywords else {}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sam2.F, "interpolate", interpolate)
        yield


@contextmanager
def positions_of(segmenter: SamSegmenter, mode: str | None) -> Iterator[None]:
    """Position embeddings interpolated in another way, or none within windows."""

    def positions(self: hiera.Hiera, side: int) -> Tensor:
        places = F.interpolate(self.pos_embed, (side, side), mode=mode or "bicubic")
        repeats = side // self.pos_embed_window.shape[-1]
        window = 0 if mode is None else self.pos_embed_window.repeat(1, 1, repeats, repeats)
        return (places + window).permute(0, 2, 3, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hiera.Hiera, "positions", positions)
        yield


@contextmanager
def without_no_mem_embed(segmenter: SamSegmenter) -> Iterator[None]:
    """No "no earlier image" in the embedding."""
    parameter = segmenter.model.get_parameter("no_mem_embed")
    before = parameter.clone()
    parameter.zero_()
    yield
    parameter.copy_(before)


@contextmanager
def boxes_open(segmenter: SamSegmenter) -> Iterator[None]:
    """Boxes without the further token of points, as in SAM 1."""
    segmenter.model.prompt_encoder.is_box_closed = False
    yield
    segmenter.model.prompt_encoder.is_box_closed = True


@contextmanager
def always_mask_0(segmenter: SamSegmenter) -> Iterator[None]:
    """No dynamic choice of the single mask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_decoder, "MIN_STABILITY", -1.0)
        yield


MUTANTS: dict[str, Callable[[SamSegmenter], Any]] = {
    "normalisation": normalised_by_255_only,
    "channels": blue_first,
    "padding": padded,
    "antialiasing": aliased,
    "bilinear positions": lambda segmenter: positions_of(segmenter, "bilinear"),
    "no window positions": lambda segmenter: positions_of(segmenter, None),
    "no_mem_embed": without_no_mem_embed,
    "box tokens": boxes_open,
    "single mask": always_mask_0,
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_shows(pair: Pair, mutant: Callable[[SamSegmenter], Any]) -> None:
    """The comparisons above fail by ten times their tolerance, at least."""
    image_name = "panorama"  # larger than the encoder's input
    predictor, _ = pair.embed(image_name)

    with torch.no_grad(), weak_single_mask(pair), mutant(pair.segmenter):
        embedding = pair.segmenter.embed(image_named(image_name))
        found = [largest_difference(tensors_of(embedding), features_of(predictor))]
        for question in QUESTIONS.values():
            theirs = reference_answer(predictor, question, multimask=False)
            found.append(answers_differ(our_answer(pair.segmenter, embedding, question, multimask=False), theirs))

    assert max(found) > 10 * TOLERANCE


@pytest.mark.parametrize(
    "name",
    [
        "sam2.1_hiera_small",
        pytest.param("sam2.1_hiera_base_plus", marks=LARGE),
        pytest.param("sam2.1_hiera_large", marks=LARGE),
    ],
)
def test_the_other_sizes_equal_the_reference_s(name: str) -> None:
    """One after the other, since the largest pair takes 2 GB."""
    pair_called.cache_clear()
    pair = pair_called(name)
    predictor, embedding = pair.embed("wide")
    question = QUESTIONS["a box with points"]

    theirs = reference_answer(predictor, question, multimask=True)
    ours = our_answer(pair.segmenter, embedding, question, multimask=True)

    assert largest_difference(tensors_of(embedding), features_of(predictor)) <= TOLERANCE
    assert answers_differ(ours, theirs) <= TOLERANCE
    pair_called.cache_clear()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_keys_and_shapes_are_the_reference_s(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # it reads the numbers of a line
    with torch.device("meta"):
        theirs = key_lines(authors_model(name, "meta").state_dict())

    assert (GOLDEN / f"{name}_keys.txt").read_text().splitlines() == theirs


def reference_answer(predictor: Any, question: Question, multimask: bool) -> Answer:
    """Ask the authors' predictor."""
    height, width = predictor._orig_hw[0]
    prompts = in_pixels((height, width), question)
    mask, points, labels, boxes = predictor._prep_prompts(
        prompts.get("points"), prompts.get("labels"), prompts.get("boxes"), prompts.get("mask_inputs"), True
    )
    full, iou, low = predictor._predict(points, labels, boxes, mask, multimask, return_logits=True)
    return Answer(full.flatten(0, 1), iou, low)


def our_answer(segmenter: SamSegmenter, embedding: SamEmbedding, question: Question, multimask: bool) -> Answer:
    """Ask our segmenter; the logits are cut off as those that are given back."""
    found = segmenter.low_res_masks(embedding, **in_pixels(embedding.image_size, question), multimask=multimask)
    full = segmenter.full_size_logits(found.logits.flatten(0, 1), embedding)
    limit = segmenter.model.mask_input_limit
    return Answer(full, found.iou_predictions, found.logits.clamp(-limit, limit))


def in_pixels(image_size: tuple[int, int], question: Question) -> dict[str, Tensor]:
    """Return a question on an image as arguments of `low_res_masks`."""
    height, width = image_size
    prompts: dict[str, Tensor] = {}
    if question.points is not None:
        prompts["points"] = torch.tensor(question.points) * torch.tensor([width, height])
        prompts["labels"] = torch.tensor(question.labels)
    if question.boxes is not None:
        prompts["boxes"] = torch.tensor(question.boxes) * torch.tensor([width, height, width, height])
    if question.has_mask_input:
        y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
        prompts["mask_inputs"] = (8 - ((x - 90) ** 2 + (y - 120) ** 2).sqrt() / 8)[None, None]
    return prompts


def features_of(predictor: Any) -> list[Tensor]:
    """Return the reference's embedding, (1, 256, 64, 64), (1, 64, 128, 128) and (1, 32, 256, 256)."""
    features = predictor._features
    return [features["image_embed"], features["high_res_feats"][1], features["high_res_feats"][0]]


def tensors_of(embedding: SamEmbedding) -> list[Tensor]:
    """Return the tensors of our embedding in the reference's order."""
    half, quarter = embedding.details
    half = half.view(64, 64, 2, 2, -1).permute(4, 0, 2, 1, 3).reshape(1, -1, 128, 128)
    quarter = quarter.view(64, 64, 2, 2, 2, 2, -1).permute(6, 0, 2, 4, 1, 3, 5).reshape(1, -1, 256, 256)
    return [embedding.features, half, quarter]


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest difference of several tensors."""
    return max(difference(one, other) for one, other in zip(ours, theirs, strict=True))


def answers_differ(ours: Answer, theirs: Answer) -> float:
    """Return the largest difference of two answers; predicted IoU is of order 1."""
    iou = float((ours.iou - theirs.iou).abs().max())
    return max(iou, difference(ours.low, theirs.low), difference(ours.full, theirs.full))


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in parts of the range of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
