import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from sam_model.masks.coco_rle import run_lengths_from_coco, run_lengths_from_mask

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size))


def test_runs_go_down_the_columns_and_begin_with_false() -> None:
    mask = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)

    assert run_lengths_from_mask(mask).counts.tolist() == [2, 1, 1, 2]


def test_a_mask_that_begins_with_true_begins_with_a_run_of_none() -> None:
    assert run_lengths_from_mask(np.array([[1, 0]], dtype=bool)).counts.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("value", "counts"), [(False, [6]), (True, [0, 6])])
def test_a_mask_of_one_value_is_one_run(value: bool, counts: list[int]) -> None:
    assert run_lengths_from_mask(np.full((2, 3), value)).counts.tolist() == counts


@given(MASKS)
def test_the_mask_comes_back(mask: np.ndarray) -> None:
    lengths = run_lengths_from_mask(mask)

    assert np.array_equal(lengths.mask, mask)
    assert lengths.area == mask.sum()


@given(MASKS)
def test_compressed_counts_are_those_of_pycocotools(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))

    ours = run_lengths_from_mask(mask).to_coco(is_compressed=True)

    assert ours == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(run_lengths_from_coco(ours).mask, mask)


def test_long_and_shrinking_runs_are_compressed_as_pycocotools_does() -> None:
    mask = np.zeros((700, 300), dtype=bool)
    mask[100:690, 3:200] = True
    mask[5, 7] = True
    mask[-1, 250:] = True
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))

    assert run_lengths_from_mask(mask).to_coco(is_compressed=True)["counts"] == theirs["counts"].decode()


@given(MASKS, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_a_part_of_an_image_has_the_runs_of_the_whole(
    mask: np.ndarray, above: int, below: int, left: int, right: int
) -> None:
    whole = np.pad(mask, ((above, below), (left, right)))

    lengths = run_lengths_from_mask(mask, (above, left), (whole.shape[0], whole.shape[1]))

    assert lengths.counts.tolist() == run_lengths_from_mask(whole).counts.tolist()
    assert np.array_equal(lengths.mask, whole)


@pytest.mark.parametrize("counts", [[1, 2], [4, 3], [-1, 7]])
def test_counts_that_do_not_fill_the_image_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="2 x 3"):
        run_lengths_from_coco({"size": [2, 3], "counts": counts})
