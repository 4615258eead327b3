import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sam_model.masks.boxes import box_from_mask
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings, automatic_mask_settings
from sam_model.sam.automatic_masks import edge_map, proposals, segment_everything
from sam_testing.colour_sam import GOOD, ColourSam

TESTS = Path(__file__).parents[2]


def picture() -> np.ndarray:
    """192 x 256: grey ground with a red square of 48 pixels, a green oblong 32 high and 80 wide, a blue speck."""
    image = np.full((192, 256, 3), 90, dtype=np.uint8)
    image[24:72, 32:80] = (255, 0, 0)
    image[120:152, 144:224] = (0, 255, 0)
    image[168:184, 12:28] = (0, 0, 255)
    return image


def iou_with_colour(mask: np.ndarray, image: np.ndarray, colour: tuple[int, int, int]) -> float:
    """1 would be exact; the interpolation of the logits takes a pixel off each corner."""
    wanted = (image == colour).all(-1)
    return float((mask & wanted).sum() / (mask | wanted).sum())


def test_each_thing_is_found_once_with_its_mask_box_and_score() -> None:
    image = picture()

    found = segment_everything(ColourSam(), image, AutomaticMaskSettings(points_per_side=8))

    boxes = {mask.box for mask in found}
    assert boxes == {(0, 0, 256, 192), (32, 24, 80, 72), (144, 120, 224, 152), (12, 168, 28, 184)}
    square = next(mask for mask in found if mask.box == (32, 24, 80, 72))
    assert iou_with_colour(square.mask, image, (255, 0, 0)) > 0.98
    assert square.predicted_iou == np.float32(GOOD)
    assert 0.95 <= square.stability_score <= 1
    assert square.crop_box == (0, 0, 256, 192)
    assert image[int(square.point[1]), int(square.point[0])].tolist() == [255, 0, 0]
    assert len(square.polygons) == 1
    assert square.polygons[0].holes == ()


def test_the_predicted_iou_filter_is_strict() -> None:
    settings = AutomaticMaskSettings(points_per_side=8, pred_iou_thresh=float(np.float32(GOOD)))

    assert segment_everything(ColourSam(), picture(), settings) == []


def test_the_stability_score_moves_the_cut_by_its_offset() -> None:
    steep, wide = (
        segment_everything(
            ColourSam(), picture(), AutomaticMaskSettings(points_per_side=3, stability_score_offset=offset)
        )
        for offset in (0.1, 7.9)  # the logits go from -8 to 8
    )

    assert {mask.box for mask in steep} == {(0, 0, 256, 192), (32, 24, 80, 72)}
    assert wide == []


def test_without_filters_the_restless_and_the_bad_come_too() -> None:
    settings = AutomaticMaskSettings(
        points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0
    )

    found = segment_everything(ColourSam(), picture(), settings)

    assert len(found) == 3 * 4
    scores = [mask.predicted_iou for mask in found]
    assert scores == sorted(scores, reverse=True)


def test_a_denser_grid_finds_smaller_things_and_clicks_come_in_batches() -> None:
    sam = ColourSam()
    settings = AutomaticMaskSettings(points_per_side=None, point_grids=(np.array([[18 / 256, 176 / 192], [0.9, 0.9]]),))

    found = segment_everything(sam, picture(), settings)

    assert {mask.box for mask in found} == {(12, 168, 28, 184), (0, 0, 256, 192)}
    segment_everything(sam, picture(), AutomaticMaskSettings(points_per_side=5, points_per_batch=7))
    assert sam.largest_batch == 7


def test_crops_are_looked_at_one_by_one_and_their_masks_come_in_the_pixels_of_the_image() -> None:
    image, sam = picture(), ColourSam()
    settings = AutomaticMaskSettings(points_per_side=8, crop_n_layers=1)

    found = segment_everything(sam, image, settings)

    assert len(sam.embedded) == 5
    assert sam.embedded[0] == (192, 256)
    by_box = {mask.box: mask for mask in found}
    square = by_box[32, 24, 80, 72]
    assert square.crop_box == (0, 0, 161, 129)  # the smaller crop wins
    assert iou_with_colour(square.mask, image, (255, 0, 0)) > 0.98
    assert square.run_lengths.size == (192, 256)
    assert 32 <= square.point[0] < 80
    assert 24 <= square.point[1] < 72
    oblong = by_box[144, 120, 224, 152]
    assert oblong.crop_box == (96, 64, 256, 192)
    assert 144 <= oblong.point[0] < 224
    assert 120 <= oblong.point[1] < 152
    assert iou_with_colour(oblong.mask, image, (0, 255, 0)) > 0.98


def test_what_a_crop_cuts_off_is_left_to_others() -> None:
    image = np.zeros((192, 256, 3), dtype=np.uint8)
    image[60:132, 40:216] = 255  # wider than a crop

    found = segment_everything(
        ColourSam(), image, AutomaticMaskSettings(points_per_side=6, crop_n_layers=1, stability_score_thresh=0.9)
    )

    white = [mask for mask in found if mask.mask[100, 120]]
    assert [mask.box for mask in white] == [(40, 60, 216, 132)]
    assert white[0].crop_box == (0, 0, 256, 192)


def test_small_parts_and_holes_are_removed_and_the_box_follows() -> None:
    image = picture()
    image[160:164, 240:244] = (255, 0, 0)  # a second part of the square
    image[40:44, 48:52] = 0  # a hole in it

    settings = AutomaticMaskSettings(points_per_side=8, min_mask_region_area=50)
    found = segment_everything(ColourSam(), image, settings)

    square = next(mask for mask in found if mask.box == (32, 24, 80, 72))
    assert square.mask[40:44, 48:52].all()
    assert not square.mask[160:164, 240:244].any()
    # masks that needed no change come first
    assert found.index(square) > [mask.box for mask in found].index((144, 120, 224, 152))


def test_names_of_the_documentation_are_aliases() -> None:
    settings = automatic_mask_settings(points_stride=64, points_batch_size=8, conf_thres=0.5, crop_downscale_factor=2)

    assert settings == AutomaticMaskSettings(
        points_per_side=64, points_per_batch=8, pred_iou_thresh=0.5, crop_n_points_downscale_factor=2
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"points_per_sid": 3}, "unknown parameter 'points_per_sid'"),
        ({"points_stride": 3, "points_per_side": 4}, "'points_per_side' is given twice"),
        ({"points_per_side": 0}, "points_per_side=0"),
        ({"points_per_batch": -1}, "points_per_batch=-1"),
        ({"points_per_side": None}, "points_per_side and point_grids are both None"),
        ({"crop_n_layers": -1}, "crop_n_layers"),
        ({"crop_overlap_ratio": 1.5}, "crop_overlap_ratio=1.5"),
        ({"point_grids": [np.array([[0.5, 0.5]])], "crop_n_layers": 1}, "point_grids has 1 grids"),
        ({"point_grids": [np.array([0.5, 0.5])]}, r"point_grids.*\(N, 2\)"),
        ({"point_grids": [np.array([[5.0, 0.5]])]}, r"point_grids.*0\.\.1"),
        ({"pred_iou_thresh": float("nan")}, "pred_iou_thresh=nan"),
        ({"box_nms_thresh": "high"}, "box_nms_thresh='high'"),
        ({"points_per_side": 2.5}, r"points_per_side=2\.5"),
    ],
)
def test_parameters_that_make_no_sense_are_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        automatic_mask_settings(**parameters)


def test_proposals_are_masks_ranked_by_iou_and_stability() -> None:
    found = proposals(ColourSam(), picture(), AutomaticMaskSettings(points_per_side=8))

    assert len(found) == 4
    scores = [proposal.score for proposal in found]
    assert scores == sorted(scores, reverse=True)
    assert all((GOOD + 0.95) / 2 <= score <= 1 for score in scores)
    assert (32, 24, 80, 72) in {proposal.box for proposal in found}
    assert [box_from_mask(proposal.run_lengths.mask) for proposal in found] == [proposal.box for proposal in found]
    (first,) = proposals(ColourSam(), picture(), AutomaticMaskSettings(points_per_side=8), limit=1)
    assert (first.box, first.score) == (found[0].box, found[0].score)


def test_the_edge_map_follows_the_outlines() -> None:
    image = picture()

    edges = edge_map(ColourSam(), image, points_per_side=8)

    assert edges.shape == (192, 256)
    assert edges.dtype == np.float32
    assert 0.9 < edges.max() <= 1
    assert edges[48, 29:35].max() > 0.5  # the left side of the square
    assert edges[136, 221:227].max() > 0.5  # the right side of the oblong
    assert edges[36:60, 44:68].max() < 0.05  # inside the square
    assert np.count_nonzero(edges[32:64, 26:38] > 0.3) <= 2 * 32  # thin


def test_an_image_of_one_colour_has_no_edges_inside() -> None:
    edges = edge_map(ColourSam(), np.full((64, 48, 3), 7, dtype=np.uint8), points_per_side=2)

    assert not edges[8:-8, 8:-8].any()


def test_no_progress_bar_is_drawn_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    segment_everything(ColourSam(), picture(), AutomaticMaskSettings(points_per_side=2), show_progress=True)

    assert capfd.readouterr() == ("", "")


MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from sam_testing.seeded_checkpoints import seeded_sam
from sam_model.sam.automatic_masks import segment_everything
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam.sizes import MOBILE_SAM
torch.set_num_threads(2)
sam = SamSegmenter(seeded_sam(MOBILE_SAM), "mobile_sam")
image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(100, 0).repeat(100, 1)
def kibibytes(field):  # of this process's memory; getrusage's peak would begin with that of the process that started it
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))
before = kibibytes("VmRSS:")
settings = AutomaticMaskSettings(points_per_side=5, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
found = segment_everything(sam, image, settings)
print(len(found), (kibibytes("VmHWM:") - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from Linux's /proc")
def test_twelve_megapixels_take_less_than_2_gb_above_the_model() -> None:
    # all 75 masks of 25 clicks, as logits of full size 3.6 GB; these are noise, which has the longest run lengths
    answer = subprocess.run(
        [sys.executable, "-c", MEMORY, str(TESTS)], capture_output=True, text=True, check=True, timeout=280
    )

    count, mebibytes = answer.stdout.split()
    assert int(count) > 70
    assert float(mebibytes) < 2000  # 460 when it was written
