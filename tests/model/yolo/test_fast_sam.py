from pathlib import Path

import numpy as np
import pytest

from sam_model.masks.boxes import box_from_mask
from sam_model.masks.cleaning import MaskCleaning
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Box, Image, Point, Prompt
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.fast_sam import FastSamEmbedding, FastSamSegmenter, FoundMask, by_box_overlap, select_masks
from sam_testing.yolo_files import seeded_yolo

SIZE = (30, 50)


def found_mask(box: Box, score: float, class_id: int = 0) -> FoundMask:
    mask = np.zeros(SIZE, dtype=bool)
    x_min, y_min, x_max, y_max = (int(edge) for edge in box)
    mask[y_min:y_max, x_min:x_max] = True
    return FoundMask(run_lengths_from_mask(mask), box, score, class_id)


WHOLE = found_mask((0, 0, 40, 30), 0.9)
PART = found_mask((5, 5, 15, 15), 0.8)
CORNER = found_mask((40, 20, 50, 30), 0.7)
FOUND = (WHOLE, PART, CORNER)


@pytest.fixture(scope="module")
def segmenter() -> FastSamSegmenter:
    model = YoloModel(seeded_yolo(classes=1, has_masks=True), ("object",))
    return FastSamSegmenter(model, image_size=64, score_threshold=0.3)


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embedding(segmenter: FastSamSegmenter, image: Image) -> FastSamEmbedding:
    return segmenter.embed(image)


@pytest.mark.parametrize(
    ("x", "y", "is_on"),
    [(5, 5, True), (14.99, 14.99, True), (15, 10, False), (10, 15, False), (4.99, 10, False), (10, 4.99, False)],
)
def test_a_mask_holds_the_points_on_its_pixels(x: float, y: float, is_on: bool) -> None:
    assert PART.contains(Point(x, y)) is is_on


def test_the_far_edges_of_the_image_count_as_inside() -> None:
    assert CORNER.contains(Point(50, 30))
    assert not WHOLE.contains(Point(50, 30))


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        (Prompt((Point(10, 10),)), (WHOLE,)),  # the highest-scoring that holds it
        (Prompt((Point(10, 10), Point(30, 10, False))), (PART,)),  # and no negative one
        (Prompt((Point(10, 10), Point(45, 25))), (WHOLE, CORNER)),  # no mask holds both: two parts
        (Prompt((Point(10, 10), Point(12, 12), Point(45, 25))), (WHOLE, CORNER)),
        (Prompt((Point(45, 5),)), ()),  # nothing there
        (Prompt((Point(10, 10, False),)), ()),  # says nothing of what is
        (Prompt(box=(4, 4, 16, 16)), (PART,)),
        (Prompt(box=(0, 0, 50, 30)), (WHOLE,)),
        (Prompt(box=(41, 0, 50, 10)), ()),
        (Prompt((Point(10, 10, False),), box=(4, 4, 16, 16)), ()),
        (Prompt((Point(30, 10),), box=(4, 4, 16, 16)), (WHOLE,)),
    ],
)
def test_a_prompt_picks(prompt: Prompt, parts: tuple[FoundMask, ...]) -> None:
    assert select_masks(FOUND, prompt).masks == parts


def test_where_several_are_asked_for_the_others_that_fit_are_alternatives() -> None:
    selection = select_masks(FOUND, Prompt((Point(10, 10),), multimask=True))

    assert selection.masks == (WHOLE,)
    assert selection.alternatives == (PART,)
    assert [one.score for one in selection.scored_mask(SIZE).alternatives] == [0.8]


def test_parts_are_joined_with_the_lowest_score() -> None:
    mask = select_masks(FOUND, Prompt((Point(10, 10), Point(45, 25)))).scored_mask(SIZE)

    assert np.array_equal(mask.mask, WHOLE.run_lengths.mask | CORNER.run_lengths.mask)
    assert mask.score == 0.7


def test_the_search_by_box_finds_what_looking_at_every_mask_finds() -> None:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(40):
        mask = np.zeros(SIZE, dtype=bool)
        y, x = rng.integers(0, 20), rng.integers(0, 40)
        mask[y : y + rng.integers(2, 20), x : x + rng.integers(2, 30)] = True
        mask &= rng.random(SIZE) < 0.7  # ragged, so that the box around it says little
        box = box_from_mask(mask)
        assert box is not None
        masks.append(FoundMask(run_lengths_from_mask(mask), box, 0.5, 0))
    for _ in range(20):
        x, y = rng.integers(0, 40), rng.integers(0, 20)
        box = (float(x), float(y), float(x + rng.integers(1, 20)), float(y + rng.integers(1, 15)))
        inside = np.zeros(SIZE, dtype=bool)
        inside[y : int(box[3]), x : int(box[2])] = True
        every = [one.run_lengths.mask for one in masks]
        ious = sorted(((m & inside).sum() / (m | inside).sum() for m in every), reverse=True)

        best = by_box_overlap(masks, box, 3)

        got = [one.run_lengths.mask for one in best]
        expected = [iou for iou in ious[:3] if iou > 0]
        assert [(m & inside).sum() / (m | inside).sum() for m in got] == pytest.approx(expected)


def test_everything_is_found_once_and_costs_little_memory(embedding: FastSamEmbedding) -> None:
    assert len(embedding.masks) > 3
    assert embedding.image_size == (50, 80)
    assert 0 < embedding.nbytes < 50 * 80 * len(embedding.masks)
    assert [one.score for one in embedding.masks] == sorted((one.score for one in embedding.masks), reverse=True)


def test_a_click_on_what_was_found_gives_a_mask_that_holds_it(
    segmenter: FastSamSegmenter, embedding: FastSamEmbedding
) -> None:
    rows, columns = np.nonzero(embedding.masks[0].run_lengths.mask)
    click = Point(float(columns[0]) + 0.5, float(rows[0]) + 0.5)

    by_click, by_box = segmenter.segment(embedding, [Prompt((click,)), Prompt(box=embedding.masks[0].box)])

    assert by_click.mask.shape == (50, 80)
    assert np.array_equal(by_click.mask, embedding.masks[0].run_lengths.mask)
    assert by_click.low_res_logits is None
    assert by_box.mask.any()


def test_a_prompt_that_picks_nothing_has_an_empty_mask_of_score_0(segmenter: FastSamSegmenter) -> None:
    nothing = FastSamEmbedding((), SIZE, segmenter.fingerprint)

    answer = segmenter.segment(nothing, [Prompt((Point(3, 3),))])[0]

    assert not answer.mask.any()
    assert answer.mask.shape == SIZE
    assert answer.score == 0


def test_masks_are_cleaned_where_that_is_asked_for() -> None:
    model = YoloModel(seeded_yolo(classes=1, has_masks=True), ("object",))
    segmenter = FastSamSegmenter(model, image_size=64, cleaning=MaskCleaning(min_hole_area=10))
    mask = WHOLE.run_lengths.mask
    mask[10:12, 10:12] = False
    holed = FoundMask(run_lengths_from_mask(mask), WHOLE.box, 0.9, 0)

    answer = segmenter.segment(FastSamEmbedding((holed,), SIZE, segmenter.fingerprint), [Prompt((Point(2, 2),))])[0]

    assert np.array_equal(answer.mask, WHOLE.run_lengths.mask)
    assert segmenter.fingerprint.endswith("-holes10")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(), "the prompt is empty"),
        (Prompt((Point(81, 3),)), r"point \(81, 3\) is outside the image of 80 x 50 pixels"),
        (Prompt((Point(float("nan"), 3),)), "outside the image"),
        (Prompt(box=(0, 0, float("inf"), 3)), "not finite"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_named(
    segmenter: FastSamSegmenter, embedding: FastSamEmbedding, prompt: Prompt, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        segmenter.segment(embedding, [prompt])


def test_the_embedding_of_another_segmenter_is_refused(segmenter: FastSamSegmenter) -> None:
    with pytest.raises(ValueError, match="was made by 'other'"):
        segmenter.segment(FastSamEmbedding((), SIZE, "other"), [Prompt((Point(1, 1),))])


def test_a_detector_without_masks_is_no_fastsam() -> None:
    with pytest.raises(ValueError, match="has no masks, so it is not a FastSAM"):
        FastSamSegmenter(YoloModel(seeded_yolo(classes=1), ("object",)))


def test_the_fingerprint_names_settings(segmenter: FastSamSegmenter, tmp_path: Path) -> None:
    model = YoloModel(seeded_yolo(classes=1, has_masks=True), ("object",))

    assert FastSamSegmenter(model, image_size=64, score_threshold=0.4).fingerprint != segmenter.fingerprint
    assert segmenter.fingerprint.startswith("fastsam-")
