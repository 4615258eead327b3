"""The classical segmenter on hand-drawn images: what it must find, what it must survive, what it must respect."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_model import load_segmenter
from sam_model.classical.segmenter import ClassicalEmbedding, ClassicalSegmenter
from sam_model.types import Image, Mask, Point, Prompt

segmenter = ClassicalSegmenter()


def iou(one: Mask, other: Mask) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def gradient(height: int, width: int) -> Image:
    """Grey, from dark on the left to light on the right, with a little fixed noise."""
    ramp = np.linspace(60, 160, width)[None, :, None] + np.zeros((height, 1, 3))
    return np.clip(ramp + np.random.default_rng(0).normal(0, 4, ramp.shape), 0, 255).astype(np.uint8)


def disc(height: int, width: int, x: int, y: int, radius: int) -> Mask:
    rows, columns = np.mgrid[0:height, 0:width]
    return (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < radius**2


def painted(image: Image, mask: Mask, colour: tuple[int, int, int]) -> Image:
    image = image.copy()
    image[mask] = np.clip(np.array(colour) + np.random.default_rng(1).normal(0, 4, (mask.sum(), 3)), 0, 255)
    return image


BALL = disc(300, 420, 150, 120, 60)
BALL_IMAGE = painted(gradient(300, 420), BALL, (190, 40, 40))
BALL_EMBEDDING = segmenter.embed(BALL_IMAGE)


def mask_of(
    embedding: ClassicalEmbedding, *points: Point, box: tuple[float, float, float, float] | None = None
) -> Mask:
    return segmenter.segment(embedding, [Prompt(points, box)])[0].mask


def test_the_registry_gives_it_by_its_name() -> None:
    loaded = load_segmenter("classical")

    assert loaded.name == "classical"
    assert loaded.fingerprint == segmenter.fingerprint


def test_one_click_finds_a_disc_on_a_gradient() -> None:
    assert iou(mask_of(BALL_EMBEDDING, Point(150, 120)), BALL) > 0.95


def test_a_box_finds_a_disc_on_a_gradient() -> None:
    assert iou(mask_of(BALL_EMBEDDING, box=(90, 60, 210, 180)), BALL) > 0.95


def test_a_loose_box_finds_a_disc_on_a_gradient() -> None:
    assert iou(mask_of(BALL_EMBEDDING, box=(75, 50, 220, 195)), BALL) > 0.95


def test_of_two_colours_that_touch_a_click_takes_one_and_two_take_both() -> None:
    left, right = np.zeros((240, 360), bool), np.zeros((240, 360), bool)
    left[70:170, 90:180] = True
    right[70:170, 180:270] = True
    image = painted(painted(gradient(240, 360), left, (200, 60, 40)), right, (30, 70, 200))
    embedding = segmenter.embed(image)

    assert iou(mask_of(embedding, Point(135, 120)), left) > 0.9
    assert iou(mask_of(embedding, Point(135, 120), Point(225, 120)), left | right) > 0.9


def test_a_negative_click_takes_the_second_colour_away_again() -> None:
    left, right = np.zeros((240, 360), bool), np.zeros((240, 360), bool)
    left[70:170, 90:180] = True
    right[70:170, 180:270] = True
    embedding = segmenter.embed(painted(painted(gradient(240, 360), left, (200, 60, 40)), right, (30, 70, 200)))

    both = mask_of(embedding, box=(90, 70, 270, 170))
    one = mask_of(embedding, Point(225, 120, is_positive=False), box=(90, 70, 270, 170))

    assert iou(both, left | right) > 0.9
    assert iou(one, left) > 0.9


@pytest.mark.parametrize("thickness", [6, 10])
def test_a_thin_bar_is_followed_to_its_ends(thickness: int) -> None:
    bar = np.zeros((200, 320), bool)
    bar[100 : 100 + thickness, 40:280] = True
    embedding = segmenter.embed(painted(np.full((200, 320, 3), 90, np.uint8), bar, (230, 210, 60)))

    mask = mask_of(embedding, box=(40, 100, 280, 100 + thickness))

    assert iou(mask, bar) > 0.8
    assert mask[100 + thickness // 2, 45]
    assert mask[100 + thickness // 2, 275]


def test_a_hole_with_a_negative_click_stays_a_hole() -> None:
    hole = disc(300, 420, 150, 120, 9)
    embedding = segmenter.embed(painted(BALL_IMAGE, hole, (200, 60, 50)))  # so like the ball that nothing else finds it

    mask = mask_of(embedding, Point(115, 120), Point(150.5, 120.5, is_positive=False))

    assert not mask[120, 150]
    assert mask[120, 115]


def test_a_small_hole_without_a_click_is_filled() -> None:
    speck = disc(300, 420, 165, 135, 4)

    mask = mask_of(segmenter.embed(painted(BALL_IMAGE, speck, (90, 90, 90))), Point(140, 110))

    assert mask[speck].all()


def test_borders_are_as_smooth_in_a_large_image_as_in_a_small_one() -> None:
    ball = disc(2000, 2800, 1000, 800, 400)
    image = cv2.resize(painted(gradient(300, 420), BALL, (190, 40, 40)), (2800, 2000), interpolation=cv2.INTER_CUBIC)

    mask = mask_of(segmenter.embed(image), Point(1000, 800))
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)

    assert iou(mask, ball) > 0.95
    assert len(contours[0]) < 1.15 * 4 * np.sqrt(2) * 400  # a disc's 8-connected contour has 4 sqrt(2) r pixels


def test_with_a_box_the_mask_stays_in_it_unless_a_positive_point_is_outside() -> None:
    box = (90.0, 60.0, 150.0, 180.0)  # the ball's left half

    within = mask_of(BALL_EMBEDDING, Point(120, 120), box=box)
    beyond = mask_of(BALL_EMBEDDING, Point(190, 120), box=box)

    assert np.count_nonzero(within[:, 152:]) == 0
    assert iou(within, BALL & (np.arange(420) < 150)) > 0.8
    assert beyond[120, 190]


def test_only_negative_points_give_an_empty_mask() -> None:
    answer = segmenter.segment(BALL_EMBEDDING, [Prompt((Point(150, 120, is_positive=False),))])[0]

    assert not answer.mask.any()
    assert answer.score == 0


def test_a_negative_click_before_the_first_positive_one_counts_too() -> None:
    mask = mask_of(BALL_EMBEDDING, Point(300, 200, is_positive=False), Point(150, 120))

    assert iou(mask, BALL) > 0.95


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 5), (1, 900), (900, 1), (7, 1500), (40, 13), (13, 40)])
@pytest.mark.parametrize("is_flat", [True, False])
def test_any_image_and_any_prompt_give_a_mask_of_the_right_size(size: tuple[int, int], is_flat: bool) -> None:
    h, w = size
    noise = np.random.default_rng(3).integers(0, 256, (h, w, 3), dtype=np.uint8)
    embedding = segmenter.embed(np.full((h, w, 3), 77, np.uint8) if is_flat else noise)
    prompts = [
        Prompt((Point(w / 2, h / 2),)),
        Prompt((Point(-5, -9),)),
        Prompt((Point(w + 9, h + 9),)),
        Prompt((Point(0, h), Point(w, 0, is_positive=False))),
        Prompt((Point(w / 2, h / 2), Point(w / 2, h / 2, is_positive=False))),
        Prompt(box=(0, 0, w, h)),
        Prompt(box=(-50, -50, w + 50, h + 50)),
        Prompt(box=(w * 0.2, h * 0.2, w * 0.2 + 2, h * 0.2 + 2)),
        Prompt(box=(w / 2, h / 2, w / 2, h / 2)),
        Prompt(box=(w * 0.8, h * 0.8, w * 0.1, h * 0.1)),
        Prompt(box=(-10, -10, -5, -5)),
        Prompt((Point(w * 0.9, h * 0.9),), box=(0, 0, w * 0.4, h * 0.4)),
        Prompt((Point(w / 2, h / 2, is_positive=False),), box=(0, 0, w, h)),
    ]

    answers = segmenter.segment(embedding, prompts)

    assert embedding.image_size == size
    assert len(answers) == len(prompts)
    for answer in answers:
        assert answer.mask.shape == size
        assert answer.mask.dtype == np.bool_
        assert 0 <= answer.score <= 1


def test_a_point_outside_counts_as_the_nearest_pixel() -> None:
    outside, corner = Point(-30, 500), Point(0.5, 299.5)

    assert np.array_equal(mask_of(BALL_EMBEDDING, outside), mask_of(BALL_EMBEDDING, corner))
    assert mask_of(BALL_EMBEDDING, outside)[299, 0]


points = st.lists(
    st.tuples(st.integers(0, 419), st.integers(0, 299), st.booleans()),
    min_size=1,
    max_size=6,
    unique_by=lambda click: click[:2],
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(clicks=points)
def test_every_click_is_respected(clicks: list[tuple[int, int, bool]]) -> None:
    mask = mask_of(BALL_EMBEDDING, *(Point(x + 0.5, y + 0.5, positive) for x, y, positive in clicks))

    for x, y, positive in clicks:
        assert mask[y, x] == (positive and any(click[2] for click in clicks))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(clicks=points)
def test_every_click_is_respected_with_a_box_around_them(clicks: list[tuple[int, int, bool]]) -> None:
    mask = mask_of(
        BALL_EMBEDDING, *(Point(x + 0.5, y + 0.5, positive) for x, y, positive in clicks), box=(0, 0, 420, 300)
    )

    for x, y, positive in clicks:
        assert mask[y, x] == positive


PROMPTS = [
    Prompt((Point(150, 120),)),
    Prompt(box=(90, 60, 210, 180)),
    Prompt((Point(150, 120), Point(300, 200, is_positive=False), Point(180, 150))),
    Prompt((Point(300, 200),)),
]


def test_the_same_prompt_gives_the_same_mask_whatever_the_random_numbers() -> None:
    cv2.setRNGSeed(1)
    first = segmenter.segment(BALL_EMBEDDING, PROMPTS)
    cv2.setRNGSeed(99)
    second = segmenter.segment(segmenter.embed(BALL_IMAGE), PROMPTS)

    assert all(np.array_equal(a.mask, b.mask) and a.score == b.score for a, b in zip(first, second, strict=True))


def test_threads_on_one_embedding_get_the_masks_of_one_after_the_other() -> None:
    expected = segmenter.segment(BALL_EMBEDDING, PROMPTS)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda k: segmenter.segment(BALL_EMBEDDING, [PROMPTS[k % 4]])[0], range(12)))

    assert all(np.array_equal(answer.mask, expected[k % 4].mask) for k, answer in enumerate(answers))


def test_the_score_is_higher_where_the_object_is_plainer() -> None:
    faint = segmenter.embed(painted(gradient(300, 420), BALL, (112, 104, 104)))

    plain_score = segmenter.segment(BALL_EMBEDDING, [Prompt(box=(90, 60, 210, 180))])[0].score
    faint_score = segmenter.segment(faint, [Prompt(box=(90, 60, 210, 180))])[0].score

    assert plain_score > faint_score


def test_an_embedding_says_how_large_it_is() -> None:
    assert BALL_EMBEDDING.nbytes > BALL_IMAGE.nbytes
    assert BALL_EMBEDDING.image_size == (300, 420)
    assert BALL_EMBEDDING.fingerprint == segmenter.fingerprint


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(), "the prompt is empty"),
        (Prompt((Point(float("nan"), 3),)), r"point \(nan, 3\) is not finite"),
        (Prompt((Point(3, float("inf")),)), r"point \(3, inf\) is not finite"),
        (Prompt(box=(0, 0, float("nan"), 9)), r"box \(0, 0, nan, 9\) is not finite"),
    ],
)
def test_a_prompt_that_says_nothing_is_refused_by_name(prompt: Prompt, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmenter.segment(BALL_EMBEDDING, [prompt])


def test_the_embedding_of_another_model_is_refused() -> None:
    foreign = ClassicalEmbedding((300, 420), "another-1", BALL_EMBEDDING.photo, BALL_EMBEDDING.graph)

    with pytest.raises(ValueError, match="another-1"):
        segmenter.segment(foreign, [Prompt((Point(150, 120),))])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 12), np.uint8),
        np.zeros((9, 12, 4), np.uint8),
        np.zeros((9, 12, 3), np.float32),
        np.zeros((0, 12, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(image: Image) -> None:
    with pytest.raises(ValueError, match="an RGB uint8 image"):
        segmenter.embed(image)
