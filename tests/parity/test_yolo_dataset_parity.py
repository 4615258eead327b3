"""A data set of `export --format yolo-seg` in the data loader of Ultralytics: images, classes and masks."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from sam_backend.export.dataset_image import DatasetImage, DatasetObject
from sam_backend.export.yolo_dataset import write_yolo
from sam_model.masks.coco_rle import run_lengths_from_mask

pytest.importorskip("ultralytics")

pytestmark = pytest.mark.parity

HEIGHT, WIDTH = 120, 200
CLASSES = ["Cat", "Dog: big"]


def blob(seed: int) -> NDArray[np.bool_]:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    angle = np.arctan2(y - 60, x - 40 - 15 * (seed % 8))
    radius = 25 + 8 * np.sin(random.integers(2, 6) * angle + random.uniform(0, 6))
    found: NDArray[np.bool_] = np.hypot(y - 60, x - 40 - 15 * (seed % 8)) < radius
    if seed % 3 == 0:
        found &= np.hypot(y - 60, x - 40 - 15 * (seed % 8)) > 8  # with a hole
    return found


def data_set(folder: Path) -> dict[str, list[tuple[int, NDArray[np.bool_]]]]:
    """Write 20 images with two objects each; return classes and masks by file name."""
    images, known = [], {}
    for number in range(20):
        split, name = ("train" if number < 15 else "val"), f"{number:06d}-photo.png"
        path = folder / "images" / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((HEIGHT, WIDTH, 3), number, np.uint8)).save(path)
        masks = [blob(2 * number), blob(2 * number + 1)]
        objects = tuple(
            DatasetObject(str(index), CLASSES[index], None, run_lengths_from_mask(mask))
            for index, mask in enumerate(masks)
        )
        images.append(DatasetImage(number, None, split, name, "", (HEIGHT, WIDTH), objects))
        known[name] = list(enumerate(masks))
    write_yolo(images, folder, CLASSES, ["train", "val"])
    return known


def test_ultralytics_loader_reads_the_masks(tmp_path: Path) -> None:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    known = data_set(tmp_path)
    data: dict[str, Any] = check_det_dataset(str(tmp_path / "data.yaml"), autodownload=False)
    assert data["names"] == dict(enumerate(CLASSES))
    worst, count = 1.0, 0
    for split in ("train", "val"):
        loaded = YOLODataset(img_path=data[split], data=data, task="segment", augment=False, imgsz=200)
        assert len(loaded.labels) == {"train": 15, "val": 5}[split]
        for label in loaded.labels:
            expected = known[Path(label["im_file"]).name]
            assert label["shape"] == (HEIGHT, WIDTH)
            assert label["cls"].ravel().astype(int).tolist() == [number for number, _ in expected]
            for segment, (_, mask) in zip(label["segments"], expected, strict=True):
                polygon = (segment * [WIDTH, HEIGHT]).reshape(1, -1)
                theirs = polygon2mask((HEIGHT, WIDTH), polygon, downsample_ratio=1).astype(bool)
                worst = min(worst, np.count_nonzero(theirs & mask) / np.count_nonzero(theirs | mask))
                count += 1
    assert count == 40
    assert worst >= 0.98  # measured: 0.9908
