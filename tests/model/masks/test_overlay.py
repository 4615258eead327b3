import numpy as np

from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.masks.overlay import NEGATIVE, POSITIVE, draw_overlay, mask_colour
from sam_model.types import Point, Prompt


def test_masks_have_colours_and_prompts_are_marked() -> None:
    mask = np.zeros((40, 80), dtype=bool)
    mask[10:30, 20:60] = True
    mask[15:25, 30:50] = False
    prompt = Prompt(points=(Point(25, 12), Point(5, 35, is_positive=False)), box=(15, 5, 65, 35))
    image = np.full((40, 80, 3), 100, np.uint8)

    drawn = draw_overlay(image, [run_lengths_from_mask(mask)], [prompt])

    assert drawn.shape == (40, 80, 3)
    assert tuple(drawn[12, 25]) == POSITIVE
    assert tuple(drawn[35, 5]) == NEGATIVE
    red, green, blue = mask_colour(0)
    assert tuple(drawn[20, 55]) == tuple(int(100 * 0.55 + c * 0.45) for c in (red, green, blue))
    assert tuple(drawn[20, 40]) == (100, 100, 100)  # the hole
    assert (image == 100).all()


def test_a_small_mask_is_drawn_over_a_large_one() -> None:
    large, small = np.ones((30, 50), bool), np.zeros((30, 50), bool)
    small[10:20, 20:30] = True
    image = np.zeros((30, 50, 3), np.uint8)
    small_and_large = [run_lengths_from_mask(small), run_lengths_from_mask(large)]

    colour = draw_overlay(image, small_and_large)[15, 25]

    # the large one's colour is below: its share is what the small one leaves of it
    below, above = np.array(mask_colour(1)), np.array(mask_colour(0))
    assert np.allclose(colour, 0.45 * 0.55 * below + 0.45 * above, atol=1.5)
