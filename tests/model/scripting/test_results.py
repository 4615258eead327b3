from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.masks.overlay import NEGATIVE, POSITIVE, draw_overlay, mask_colour
from sam_model.scripting.results import Results, results_from_masks
from sam_model.types import Point, Prompt, ScoredMask

HEIGHT, WIDTH = 40, 80


def ring() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[10:30, 20:60] = True
    mask[15:25, 30:50] = False
    return mask


def two_parts() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[0:10, 0:8] = mask[30:40, 72:80] = True
    return mask


def results(*masks: ScoredMask, prompts: tuple[Prompt, ...] = ()) -> Results:
    return results_from_masks(np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8), masks, prompts, "test_sam")


def test_masks_scores_boxes_and_outlines_belong_together() -> None:
    found = results(ScoredMask(ring(), 0.75), ScoredMask(two_parts(), 0.5))

    assert found.masks.dtype == bool
    assert np.array_equal(found.masks, [ring(), two_parts()])
    assert found.scores.tolist() == [0.75, 0.5]
    assert found.boxes.tolist() == [[20, 10, 60, 30], [0, 0, 80, 40]]
    assert [len(parts) for parts in found.polygons] == [1, 2]
    assert len(found.polygons[0][0].holes) == 1
    assert found.low_res_logits is None


def test_low_resolution_logits_can_be_given_back() -> None:
    logits = np.ones((8, 8), dtype=np.float32)

    assert results(ScoredMask(ring(), 0.5, logits), ScoredMask(ring(), 0.5, 2 * logits)).low_res_logits is not None
    assert results(ScoredMask(ring(), 0.5, logits), ScoredMask(ring(), 0.5)).low_res_logits is None


def test_all_candidates_come_where_several_were_asked_for() -> None:
    candidates = (ScoredMask(two_parts(), 0.4), ScoredMask(ring(), 0.2))

    found = results(ScoredMask(ring(), 0.9, alternatives=candidates), ScoredMask(ring(), 0.3))

    assert found.scores.tolist() == pytest.approx([0.9, 0.4, 0.2, 0.3])


def test_nothing_found_is_a_result_too(tmp_path: Path) -> None:
    found = results()

    assert found.masks.shape == (0, HEIGHT, WIDTH)
    assert found.boxes.shape == (0, 4)
    assert np.array_equal(found.plot(), found.image)
    assert found.to_label_studio() == {"model_version": "test_sam", "score": 0.0, "result": []}


def test_an_empty_mask_has_a_box_of_zeros() -> None:
    assert results(ScoredMask(np.zeros((HEIGHT, WIDTH), bool), 0.1)).boxes.tolist() == [[0, 0, 0, 0]]


def test_the_result_of_one_image_reads_like_a_list_of_one() -> None:
    found = results(ScoredMask(ring(), 0.9))

    assert found[0] is found
    assert [one.scores.tolist() for one in found] == [pytest.approx([0.9])]
    with pytest.raises(IndexError):
        found[1]


def test_the_plot_colours_masks_and_marks_clicks_and_boxes() -> None:
    prompt = Prompt(points=(Point(25, 12), Point(5, 35, is_positive=False)), box=(15, 5, 65, 35))
    found = results(ScoredMask(ring(), 0.9), prompts=(prompt,))

    picture = found.plot()

    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert tuple(picture[12, 25]) == POSITIVE
    assert tuple(picture[35, 5]) == NEGATIVE
    red, green, blue = mask_colour(0)
    assert tuple(picture[20, 55]) == tuple(int(100 * 0.55 + c * 0.45) for c in (red, green, blue))
    assert tuple(picture[20, 40]) == (100, 100, 100)  # the hole
    assert (found.image == 100).all()


def test_a_small_mask_is_drawn_over_a_large_one() -> None:
    large, small = np.ones((30, 50), bool), np.zeros((30, 50), bool)
    small[10:20, 20:30] = True
    image = np.zeros((30, 50, 3), np.uint8)
    small_and_large = [run_lengths_from_mask(small), run_lengths_from_mask(large)]

    colour = draw_overlay(image, small_and_large)[15, 25]

    # the large one's colour is below: its share is what the small one leaves of it
    below, above = np.array(mask_colour(1)), np.array(mask_colour(0))
    assert np.allclose(colour, 0.45 * 0.55 * below + 0.45 * above, atol=1.5)


def test_the_image_is_saved_in_its_colours(tmp_path: Path) -> None:
    found = results(ScoredMask(ring(), 0.9))

    found.save(tmp_path / "overlay.png")

    assert np.array_equal(np.array(PIL.Image.open(tmp_path / "overlay.png")), found.plot())
    with pytest.raises(ValueError, match="unknown file extension"):
        found.save(tmp_path / "overlay.xyz")


def test_label_studio_gets_polygons_in_percent_one_a_part() -> None:
    found = results(ScoredMask(two_parts(), 0.5))

    prediction = found.to_label_studio(label="Cat", from_name="poly", to_name="photo", tolerance=0)

    assert prediction["model_version"] == "test_sam"
    assert prediction["score"] == 0.5
    first, second = prediction["result"]
    assert first["id"] != second["id"]
    assert {key: first[key] for key in ("type", "from_name", "to_name", "original_width", "original_height")} == {
        "type": "polygonlabels",
        "from_name": "poly",
        "to_name": "photo",
        "original_width": 80,
        "original_height": 40,
    }
    assert first["value"]["polygonlabels"] == ["Cat"]
    assert first["value"]["closed"] is True
    assert sorted(first["value"]["points"]) == [[0, 0], [0, 25], [10, 0], [10, 25]]
    assert sorted(second["value"]["points"]) == [[90, 75], [90, 100], [100, 75], [100, 100]]


def test_label_studio_gets_brush_regions_from_an_encoder() -> None:
    found = results(ScoredMask(ring(), 0.5), ScoredMask(two_parts(), 0.25))

    prediction = found.to_label_studio(label="Cat", encode_mask=lambda mask: [int(mask.sum())])

    values = [region["value"] for region in prediction["result"]]
    assert values == [
        {"format": "rle", "rle": [600], "brushlabels": ["Cat"]},
        {"format": "rle", "rle": [160], "brushlabels": ["Cat"]},
    ]
    assert prediction["score"] == 0.375
