import numpy as np

from sam_model.sam.crops import Crop, crops_of, is_cut_off, point_grid, point_grids


def test_without_layers_there_is_the_whole_image() -> None:
    assert list(crops_of((40, 60), 0, 0.3)) == [Crop(0, 0, 60, 40, layer=0)]


def test_a_layer_has_four_overlapping_crops_column_by_column() -> None:
    # overlap int(0.5 * 40) = 20; width (60 + 20) / 2 = 40, height (40 + 20) / 2 = 30
    boxes = [crop.box for crop in crops_of((40, 60), 1, 0.5)][1:]

    assert boxes == [(0, 0, 40, 30), (0, 10, 40, 40), (20, 0, 60, 30), (20, 10, 60, 40)]


def test_each_layer_has_twice_as_many_to_a_side_and_all_of_them_cover_the_image() -> None:
    crops = list(crops_of((101, 67), 3, 512 / 1500))

    for layer in range(4):
        covered = np.zeros((101, 67), dtype=bool)
        members = [crop for crop in crops if crop.layer == layer]
        for crop in members:
            covered[crop.y_min : crop.y_max, crop.x_min : crop.x_max] = True
        assert len(members) == 4**layer
        assert covered.all()


def test_an_image_of_few_pixels_has_only_crops_with_pixels() -> None:
    for crop in crops_of((3, 5), 4, 0.3):
        assert 0 <= crop.x_min < crop.x_max <= 5
        assert 0 <= crop.y_min < crop.y_max <= 3


def test_the_points_are_the_middles_of_cells_row_by_row() -> None:
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_deeper_layers_have_fewer_points_and_at_least_one() -> None:
    assert [len(grid) for grid in point_grids(8, 2, 2)] == [64, 16, 4]
    assert [len(grid) for grid in point_grids(2, 2, 4)] == [4, 1, 1]


def test_a_box_at_an_inner_edge_of_a_crop_is_cut_off() -> None:
    crop = Crop(100, 0, 300, 200, layer=1)
    boxes = np.array(
        [
            [150, 50, 250, 150],  # in the middle
            [110, 50, 250, 150],  # near the crop's left edge
            [150, 5, 250, 150],  # near its top, which is the image's
            [150, 50, 280, 150],  # 20 pixels from its right edge
            [150, 50, 279, 150],
        ],
        dtype=np.float32,
    )

    assert is_cut_off(boxes, crop, (400, 600)).tolist() == [False, True, False, True, False]
