"""`FastSAM` on a file of size n, as a script uses it."""

from pathlib import Path

import numpy as np
import pytest

import sam_model
from sam_model.registry import load_segmenter
from sam_model.scripting.results import Results
from sam_model.types import Image, Point, Prompt
from sam_testing.yolo_files import SIZE_N, write_yolo_file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("fast_sam") / "FastSAM-s.pt"
    write_yolo_file(file, SIZE_N, names=("object",), has_masks=True)
    return file


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (150, 240, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def everything(file: Path, image: Image) -> Results:
    return ask(file, image)


def ask(file: Path, image: Image, **prompts: object) -> Results:
    (results,) = sam_model.FastSAM(file)(
        image, conf=0.3, imgsz=128, image_format="RGB", retina_masks=True, verbose=False, **prompts
    )
    return results


def numbers(some: Results, everything: Results) -> list[int]:
    """The places of some objects among all."""
    return [int((everything.boxes.data == row).all(dim=1).nonzero()[0, 0]) for row in some.boxes.data]


def test_without_prompts_all_masks_come(everything: Results) -> None:
    assert len(everything) > 3
    assert everything.masks.data.shape == (len(everything), 150, 240)
    assert everything.names == {0: "object"}
    near = (everything.boxes.xyxy > 0) & (everything.boxes.xyxy < 20)
    assert not near.any()  # boxes that end near the border end there


def test_a_box_selects_the_mask_with_the_largest_iou(file: Path, image: Image, everything: Results) -> None:
    masks = everything.masks.data.bool().numpy()
    rows, columns = np.nonzero(masks[2])
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    filled = np.zeros((150, 240), bool)
    filled[box[1] : box[3], box[0] : box[2]] = True
    best = int(np.argmax([(mask & filled).sum() / (mask | filled).sum() for mask in masks]))

    assert numbers(ask(file, image, bboxes=box), everything) == [best]
    assert numbers(ask(file, image, bboxes=[box, box]), everything) == [best]


def test_points_select_all_masks_that_contain_one(file: Path, image: Image, everything: Results) -> None:
    masks = everything.masks.data.bool().numpy()
    row, column = np.argwhere(masks[0])[0]
    other_row, other_column = np.argwhere(masks[1] & ~masks[0])[0]
    point, other = [float(column), float(row)], [float(other_column), float(other_row)]

    one = ask(file, image, points=point, labels=1)
    two = ask(file, image, points=[point, other])
    without = ask(file, image, points=[point, other], labels=[1, 0])
    only_without = ask(file, image, points=[other], labels=[0])

    at_point, at_other = np.flatnonzero(masks[:, row, column]), np.flatnonzero(masks[:, other_row, other_column])
    assert numbers(one, everything) == at_point.tolist()
    assert numbers(two, everything) == sorted({*at_point, *at_other})
    assert numbers(without, everything) == sorted({*at_point} - {*at_other})
    assert numbers(only_without, everything) == sorted({*range(len(masks))} - {*at_other})
    assert ask(file, image, points=point, bboxes=[0, 0, 240, 150]).boxes.data.shape[0] >= len(at_point)


def test_texts_are_class_names(file: Path, image: Image, everything: Results) -> None:
    assert len(ask(file, image, texts="object")) == len(everything)
    with pytest.raises(ValueError, match="unknown class 'dog'; known: object"):
        ask(file, image, texts=["dog"])


def test_what_is_not_found_is_no_object(file: Path, image: Image) -> None:
    (found,) = sam_model.FastSAM(file)(image, points=[3, 3], conf=1.0, imgsz=64)

    assert len(found) == 0
    assert found.masks is None
    assert found.boxes.data.shape == (0, 6)


def test_masks_have_the_size_of_the_input_unless_retina_masks(file: Path, image: Image) -> None:
    (found,) = sam_model.FastSAM(file)(image, conf=0.3, imgsz=128, verbose=False)

    assert found.masks.data.shape[1:] == (96, 128)  # 150 x 240 becomes 80 x 128
    assert found.run_lengths[0].size == (150, 240)


def test_a_file_of_fastsam_becomes_a_segmenter(file: Path, image: Image) -> None:
    segmenter = load_segmenter(str(file))

    answer = segmenter.segment(segmenter.embed(image), [Prompt((Point(30, 20),))])[0]

    assert segmenter.name == "fastsam_n"  # as large as it is
    assert answer.mask.shape == (150, 240)
