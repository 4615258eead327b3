"""SAM 2's networks and checkpoints: keys, shapes, names, pixels, the dynamic mask, and the way of an embedding."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sam_model.registry import load_segmenter
from sam_model.sam import automatic_masks
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.automatic_masks import AutomaticMask, segment_everything
from sam_model.sam.embedding_bytes import embedding_from_bytes, embedding_to_bytes
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.sam.sizes import VitSize
from sam_model.sam2.hiera import MultiScaleBlock, pooled
from sam_model.sam2.mask_decoder import stable_mask
from sam_model.sam2.plain_vit import PlainViT
from sam_model.sam2.sam2 import Sam2, by_place, project
from sam_model.sam2.sizes import ENCODERS, MEMORY_KEYS, SIZES, name_by_memory
from sam_model.sam_checkpoints import empty_sam, load_sam, sam_from_state
from sam_model.types import Image, Point, Prompt
from sam_model.weights.errors import BrokenWeightsError
from sam_testing.seeded_checkpoints import (
    MEMORY,
    TINY_EFFICIENT_TAM,
    TINY_MOBILE_SAM,
    TINY_SAM2,
    TINY_VIT_SAM,
    key_lines,
    seeded_sam,
    seeded_state,
    write_seeded_checkpoint,
)

GOLDEN = Path(__file__).parents[2] / "golden"
TINY_SIZES = (TINY_VIT_SAM, TINY_MOBILE_SAM, TINY_SAM2, TINY_EFFICIENT_TAM)


@pytest.fixture(scope="module")
def segmenter() -> SamSegmenter:
    return SamSegmenter(seeded_sam(TINY_SAM2), "tiny_sam2")


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embedding(segmenter: SamSegmenter, image: Image) -> SamEmbedding:
    return segmenter.embed(image)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_keys_and_shapes_are_those_of_the_official_checkpoints(encoder: str) -> None:
    golden = (GOLDEN / f"sam2.1_hiera_{encoder}_keys.txt").read_text().splitlines()
    memory = {line for line in golden if re.split(r"[. ]", line)[0] in MEMORY_KEYS}

    for version in ("sam2.1", "sam2"):
        ours = key_lines(empty_sam(SIZES[f"{version}_hiera_{encoder}"]).state_dict())
        assert sorted({*ours, *memory}) == golden
        assert not memory & set(ours)
    assert {re.split(r"[. ]", line)[0] for line in memory} == set(MEMORY_KEYS)


def test_an_official_file_is_recognised_by_its_path(tmp_path: Path) -> None:
    path = write_seeded_checkpoint(tmp_path / "my weights.pt", SIZES["sam2.1_hiera_tiny"])

    segmenter = load_segmenter(str(path))

    assert segmenter.name == "sam2.1_hiera_tiny"
    assert segmenter.fingerprint.startswith("sam2.1_hiera_tiny-")


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        (MEMORY.keys(), "sam2.1_hiera_tiny"),
        (MEMORY.keys() - {"no_obj_embed_spatial", "obj_ptr_tpos_proj.bias"}, "sam2_hiera_tiny"),
        (frozenset(), "sam2.1_hiera_tiny"),
    ],
)
def test_the_parts_for_videos_tell_the_versions_apart(memory: frozenset[str], name: str) -> None:
    assert name_by_memory("sam2.1_hiera_tiny", memory) == name


def test_tensors_for_videos_are_ignored_and_no_others() -> None:
    state = seeded_state(TINY_SAM2) | MEMORY | {"memory_bank.weight": torch.ones(2)}

    with pytest.raises(BrokenWeightsError, match=r"tiny_sam2, the most similar model: 1 unknown: memory_bank\.weight$"):
        sam_from_state(state, "tuned.pt", TINY_SIZES)


def test_a_file_with_tensors_for_videos_only_is_named() -> None:
    with pytest.raises(BrokenWeightsError, match=r"^memory\.pt has SAM 2's tensors for videos only; needed: the image"):
        sam_from_state(MEMORY, "memory.pt", TINY_SIZES)


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    path = write_seeded_checkpoint(tmp_path / "cut.pt", TINY_SAM2)
    path.write_bytes(path.read_bytes()[:-5000])

    with pytest.raises(BrokenWeightsError, match=r"^could not load cut\.pt: it is cut off: it has \d+ bytes"):
        load_sam(path, TINY_SIZES)


def test_tensors_that_are_missing_are_listed() -> None:
    state = seeded_state(TINY_SAM2)
    del state["sam_mask_decoder.conv_s0.weight"], state["sam_mask_decoder.conv_s1.weight"]

    with pytest.raises(BrokenWeightsError, match=r"tiny_sam2, .*: 2 missing: sam_mask_decoder\.conv_s0"):
        sam_from_state(state, "tuned.pt", TINY_SIZES)


def test_another_trunk_is_named_by_the_first_different_shape() -> None:
    state = seeded_state(TINY_SAM2)
    state["image_encoder.trunk.pos_embed"] = torch.zeros(1, 16, 7, 7)

    with pytest.raises(
        BrokenWeightsError, match=r"1 of another shape: image_encoder\.trunk\.pos_embed \(1, 16, 7, 7\)"
    ):
        sam_from_state(state, "tuned.pt", TINY_SIZES)


def test_pixels_are_squashed_to_the_square_and_normalised() -> None:
    model = Sam2(TINY_SAM2)
    image = np.zeros((256, 64, 3), np.uint8)
    image[:128] = 255  # the upper half

    x = model.preprocess(model.resize(image))

    assert model.input_size((256, 64)) == (128, 128)
    assert x.shape == (1, 3, 128, 128)
    assert x[0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)
    assert x[0, 2, 60, 127] == pytest.approx((1 - 0.406) / 0.225)
    assert x[0, 1, 127, 127] == pytest.approx(-0.456 / 0.224)


def test_an_image_of_the_input_size_is_not_resized() -> None:
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)

    assert np.array_equal(Sam2(TINY_SAM2).resize(image)[0].permute(1, 2, 0).numpy(), image)


def test_an_embedding_has_three_tensors(embedding: SamEmbedding) -> None:
    assert [tuple(tensor.shape) for tensor in embedding.tensors] == [(1, 32, 8, 8), (1, 64, 4, 8), (1, 64, 4, 4, 4)]
    assert embedding.input_size == (128, 128)
    assert embedding.image_size == (60, 90)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_embedding_bytes_come_back_in_the_decoder_s_precision(image: Image, dtype: str) -> None:
    segmenter = SamSegmenter(seeded_sam(TINY_SAM2), "tiny_sam2", dtype=dtype)
    before = segmenter.embed(image)
    prompts = [Prompt((Point(30, 20),)), Prompt(box=(10, 5, 60, 40))]

    after = embedding_from_bytes(embedding_to_bytes(before, "0" * 64), "0" * 64, segmenter.fingerprint)

    assert {str(tensor.dtype) for tensor in after.tensors} == {f"torch.{dtype}"}
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(after.tensors, before.tensors, strict=True))
    for one, other in zip(segmenter.segment(after, prompts), segmenter.segment(before, prompts), strict=True):
        assert np.array_equal(one.mask, other.mask)


def test_every_kind_of_prompt_gets_a_mask(segmenter: SamSegmenter, embedding: SamEmbedding) -> None:
    click = Prompt((Point(30, 20),))
    logits = segmenter.segment(embedding, [click])[0].low_res_logits
    prompts = [
        click,
        Prompt((Point(30, 20), Point(70, 50, is_positive=False))),
        Prompt(box=(10, 5, 60, 40)),
        Prompt((Point(30, 20),), box=(10, 5, 60, 40)),
        Prompt((Point(30, 20),), mask_input=logits),
        Prompt(mask_input=logits),
        Prompt((Point(30, 20),), multimask=True),
    ]

    answers = segmenter.segment(embedding, prompts)

    assert all(answer.mask.shape == (60, 90) for answer in answers)
    assert all(0 < answer.score < 1 for answer in answers)
    assert len(answers[-1].alternatives) == 2
    assert len({answer.mask.tobytes() for answer in answers[:4]}) > 1


def test_logits_that_are_given_back_are_cut_off_and_masks_are_not(segmenter: SamSegmenter) -> None:
    logits = torch.tensor([[-100.0, 5.0], [40.0, 0.0]])

    assert segmenter.mask_input_from(logits).tolist() == [[-32, 5], [32, 0]]


def test_everything_is_segmented(segmenter: SamSegmenter, image: Image) -> None:
    settings = AutomaticMaskSettings(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)

    assert segment_everything(segmenter, image, settings)


def test_everything_has_the_threshold_of_the_authors(
    segmenter: SamSegmenter, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    def no_masks(*arguments: object) -> list[AutomaticMask]:
        settings = arguments[3]
        assert isinstance(settings, AutomaticMaskSettings)
        used.append(settings.pred_iou_thresh)
        return []

    monkeypatch.setattr(automatic_masks, "_masks_in_crop", no_masks)
    for model in (segmenter, SamSegmenter(seeded_sam(TINY_VIT_SAM), "tiny_vit_sam")):
        segment_everything(model, image)

    assert used == [0.8, 0.88]


def test_a_single_mask_that_is_not_stable_is_replaced_by_the_best_of_three() -> None:
    stable = torch.full((4, 4), -1.0)
    stable[:2] = 1.0
    unstable = stable.clone()
    unstable[2] = 0.01  # 8 of 12 pixels above +0.05, 12 above -0.05
    empty = torch.full((4, 4), -1.0)
    others = [torch.full((4, 4), float(number)) for number in (1, 2, 3)]
    logits = torch.stack([torch.stack([first, *others]) for first in (stable, unstable, empty)])
    iou = torch.tensor([[0.1, 0.2, 0.4, 0.3]]).repeat(3, 1)

    masks, scores = stable_mask(logits, iou)

    assert torch.equal(masks[:, 0], torch.stack([stable, others[1], empty]))
    assert scores[:, 0].tolist() == pytest.approx([0.1, 0.4, 0.1])


def test_two_convolutions_are_applied_as_one() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = torch.nn.Conv2d(6, 8, 1), torch.nn.Conv2d(8, 4, 1)
    x = torch.randn((1, 5, 7, 6), generator=random)

    with torch.inference_mode():
        plain = second(first(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        assert torch.allclose(project(x, first, second), plain, atol=1e-6)


def test_maps_are_ordered_by_place_quarter_and_its_quarter() -> None:
    x = torch.arange(64.0).view(1, 8, 8, 1)  # a grid of 2 x 2 places

    places = by_place(x, levels=2)

    assert places.shape == (1, 4, 4, 4, 1)
    assert places[0, 1, 0, :, 0].tolist() == [4, 5, 12, 13]  # the upper right place, its upper left quarter
    assert places[0, 1, 3, :, 0].tolist() == [22, 23, 30, 31]


@pytest.mark.parametrize("is_pooled", [False, True])
def test_windows_beyond_the_edge_are_padded_with_zeros(is_pooled: bool) -> None:
    """A map of 6 x 6 in windows of 4: each window attends on its own, and the padding's keys are the bias alone."""
    torch.manual_seed(0)
    block = MultiScaleBlock(inputs=8, width=16 if is_pooled else 8, heads=2, side=4, is_pooled=is_pooled).eval()
    x = torch.randn(1, 6, 6, 8)

    with torch.inference_mode():
        y = block.norm1(x)
        padded = F.pad(y, (0, 0, 0, 2, 0, 2))
        rows = []
        for top in (0, 4):
            windows = []
            for left in (0, 4):
                q, k, v = block.attn.qkv(padded[:, top : top + 4, left : left + 4]).chunk(3, -1)
                q = pooled(q) if is_pooled else q
                q, k, v = (part.flatten(1, 2).view(1, -1, 2, part.shape[-1] // 2).transpose(1, 2) for part in (q, k, v))
                logits = (q @ k.transpose(-2, -1)) / q.shape[-1] ** 0.5
                side = 2 if is_pooled else 4
                windows.append((logits.softmax(-1) @ v).transpose(1, 2).reshape(1, side, side, -1))
            rows.append(torch.cat(windows, dim=2))
        side = 3 if is_pooled else 6
        plain = block.attn.proj(torch.cat(rows, dim=1)[:, :side, :side])

        assert torch.allclose(block.attn(y), plain, atol=1e-5)


def test_efficient_tam_is_recognised_and_has_no_further_maps(tmp_path: Path, image: Image) -> None:
    path = write_seeded_checkpoint(tmp_path / "some.pt", TINY_EFFICIENT_TAM)
    segmenter = SamSegmenter(load_sam(path, TINY_SIZES), "tiny_efficient_tam")

    embedding = segmenter.embed(image)
    answers = segmenter.segment(embedding, [Prompt((Point(30, 20),)), Prompt(box=(10, 5, 60, 40))])

    assert [tuple(tensor.shape) for tensor in embedding.tensors] == [(1, 32, 8, 8)]
    assert all(answer.mask.shape == (60, 90) for answer in answers)


def test_the_image_size_of_an_efficient_tam_is_that_in_the_file_s_name(tmp_path: Path) -> None:
    smaller = replace(TINY_EFFICIENT_TAM, name="tiny_64x64", image_size=64)
    sizes = (TINY_EFFICIENT_TAM, smaller)

    found = [
        load_sam(write_seeded_checkpoint(tmp_path / file, TINY_EFFICIENT_TAM), sizes)
        for file in ("tuned.pt", "tuned_64x64.pt")
    ]

    assert [(each.name, each.image_size) for each in found] == [
        (TINY_EFFICIENT_TAM.name, TINY_EFFICIENT_TAM.image_size),
        ("tiny_64x64", 64),
    ]


def test_the_class_token_s_position_is_left_out() -> None:
    trunk = PlainViT(VitSize(width=8, depth=1, heads=1, global_blocks=(0,)))
    with torch.no_grad():
        trunk.pos_embed[0, 0] = 100.0
        trunk.pos_embed[0, 1:] = torch.arange(14.0 * 14)[:, None]

        assert torch.equal(trunk.positions(14)[0, :, :, 3], torch.arange(14.0 * 14).view(14, 14))
        assert trunk.positions(8).max() < 200
