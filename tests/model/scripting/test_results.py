import copy
import csv
import io
import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageShow
import pytest
import torch

from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.masks.overlay import mask_colour
from sam_model.scripting.masks import EncodedMasks, outline_of
from sam_model.scripting.results import MaskDetails, Results
from sam_model.scripting.segmentation import results_from_masks
from sam_model.types import ScoredMask

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


def results(*masks: ScoredMask) -> Results:
    return results_from_masks(np.full((HEIGHT, WIDTH, 3), 100, np.uint8), masks, (), "test_sam", "photos/cat.png")


def detected(rows: list[list[float]], masks: object = None, image: np.ndarray | None = None) -> Results:
    if image is None:
        image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    return Results(image, "photos/cat.png", {0: "person", 7: "bus"}, boxes=torch.tensor(rows), masks=masks)


PERSONS_AND_BUS = [[10, 5, 30, 25, 0.75, 0], [0, 0, 80, 40, 0.5, 7], [40, 10, 50, 20, 0.25, 0]]


def test_masks_scores_boxes_and_polygons_belong_together() -> None:
    found = results(ScoredMask(ring(), 0.75), ScoredMask(two_parts(), 0.5))

    assert len(found) == 2
    assert found.masks.data.dtype == torch.bool
    assert np.array_equal(found.masks.data.numpy(), [ring(), two_parts()])
    assert found.scores.tolist() == [0.75, 0.5]
    assert found.boxes.xyxy.tolist() == [[20, 10, 59, 29], [0, 0, 79, 39]]  # to the last pixels
    assert found.boxes.conf.tolist() == [0.75, 0.5]
    assert found.boxes.cls.tolist() == [0, 1]
    assert found.names == {0: "0", 1: "1"}
    assert found.orig_shape == (HEIGHT, WIDTH)
    assert [len(parts) for parts in found.polygons] == [1, 2]
    assert len(found.polygons[0][0].holes) == 1
    assert found.low_res_logits is None
    assert found.probs is found.keypoints is found.obb is None


def test_boxes_have_corners_centres_and_shares() -> None:
    boxes = detected(PERSONS_AND_BUS).boxes

    assert boxes.shape == boxes.data.shape == (3, 6)
    assert boxes.xyxy[0].tolist() == [10, 5, 30, 25]
    assert boxes.xywh[0].tolist() == [20, 15, 20, 20]
    assert boxes.xyxyn[0].tolist() == [0.125, 0.125, 0.375, 0.625]
    assert boxes.xywhn[0].tolist() == [0.25, 0.375, 0.25, 0.5]
    assert boxes.numpy().xywhn[0].tolist() == [0.25, 0.375, 0.25, 0.5]
    assert boxes.xywhn.dtype == boxes.xywh.dtype == torch.float32
    assert boxes.id is None
    assert not boxes.is_track
    assert boxes[1].cls.tolist() == [7]
    tracked = detected([[10, 5, 30, 25, 3, 0.75, 0]]).boxes
    assert (tracked.id.tolist(), tracked.conf.tolist(), tracked.cls.tolist()) == ([3], [0.75], [0])
    with pytest.raises(ValueError, match=r"boxes of shape \(3, 5\)"):
        detected([row[:5] for row in PERSONS_AND_BUS])


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (1, [1]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        (torch.tensor([False, False, False]), []),
        (torch.tensor([1]), [1]),
    ],
)
def test_an_index_chooses_objects_with_all_that_belongs_to_them(index: object, rows: list[int]) -> None:
    masks = [ScoredMask(ring(), score, np.full((4, 4), score, np.float32)) for score in (0.9, 0.8, 0.7)]
    found = results(*masks)

    chosen = found[index]

    assert len(chosen) == len(chosen.masks) == len(rows)
    assert chosen.boxes.cls.tolist() == rows
    assert chosen.masks.data.shape == (len(rows), HEIGHT, WIDTH)
    assert chosen.low_res_logits[:, 0, 0].tolist() == pytest.approx([(0.9, 0.8, 0.7)[row] for row in rows])
    assert (chosen.path, chosen.names, chosen.model) == (found.path, found.names, "test_sam")


def test_iteration_gives_the_objects_one_by_one() -> None:
    found = results(ScoredMask(ring(), 0.9), ScoredMask(two_parts(), 0.8))

    assert [one.boxes.cls.tolist() for one in found] == [[0], [1]]
    assert [len(one) for one in found.boxes] == [1, 1]
    assert [one.data.shape for one in found.masks] == [(1, HEIGHT, WIDTH)] * 2
    with pytest.raises(IndexError):
        found[2]
    assert list(found.new()) == []


def test_masks_are_decoded_only_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = RunLengths.mask.fget
    monkeypatch.setattr(RunLengths, "mask", property(lambda self: decoded.append(1) or decode(self)))
    found = results(ScoredMask(ring(), 0.9), ScoredMask(two_parts(), 0.8))

    assert len(found) == len(found.masks) == 2
    assert found.masks.shape == (2, HEIGHT, WIDTH)
    assert found[1].cpu().masks.run_lengths[0].area == 160
    assert copy.deepcopy(found).boxes.conf.tolist() == pytest.approx([0.9, 0.8])
    assert decoded == []
    assert found.masks.data.sum() == ring().sum() + 160
    assert len(decoded) == 2
    assert found.masks.data is found.masks.data


def test_a_mask_of_the_networks_input_belongs_to_the_image_within_its_borders() -> None:
    # an image of 40 x 80 in an input of 64 x 64: 32 x 64 with 16 rows above and below
    inner = np.zeros((64, 64), np.uint8)
    inner[24:32, 16:48] = 1
    found = detected([[20, 10, 60, 20, 0.5, 0]], torch.from_numpy(inner))

    assert found.masks.data.shape == (1, 64, 64)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:20, 20:60] = True
    assert np.array_equal(found.run_lengths[0].mask, expected)
    assert found.masks.xy[0].tolist() == [[20, 10], [20, 18.75], [58.75, 18.75], [58.75, 10]]
    assert found.masks.xyn[0].tolist() == [[0.25, 0.25], [0.25, 0.46875], [0.734375, 0.46875], [0.734375, 0.25]]


def test_an_outline_leads_through_all_parts_and_encloses_nothing_else() -> None:
    parts = two_parts()
    parts[20:22, 40:42] = True

    outline = outline_of(parts)

    drawn = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [outline.astype(np.int32)], 1).astype(bool)
    assert (drawn & parts).sum() == parts.sum()
    assert (drawn & ~parts).sum() < 120  # the lines between the parts
    assert outline_of(np.zeros((5, 5), bool)).shape == (0, 2)
    assert outline_of(np.eye(1, dtype=bool)).tolist() == [[0, 0]]
    empty = results(ScoredMask(np.zeros((HEIGHT, WIDTH), bool), 0.1))
    assert empty.masks.xy[0].shape == (0, 2)
    assert empty.boxes.xyxy.tolist() == [[0, 0, 0, 0]]


def test_nothing_found_is_a_result_too(tmp_path: Path) -> None:
    found = results()

    assert len(found) == 0
    assert not found
    assert found.masks is None
    assert found.boxes.data.shape == (0, 6)
    assert np.array_equal(found.plot(), found.orig_img)
    assert found.to_label_studio() == {"model_version": "test_sam", "score": 0.0, "result": []}
    assert found.verbose() == "(no detections), "
    assert found.summary() == []
    assert found.to_json() == "[]"
    assert found.to_csv() == ""
    found.save_txt(tmp_path / "labels" / "cat.txt")
    found.save_crop(tmp_path / "crops")
    assert list(tmp_path.iterdir()) == []


def test_results_change_device_type_and_parts_in_copies() -> None:
    found = detected(PERSONS_AND_BUS, torch.ones((3, HEIGHT, WIDTH), dtype=torch.uint8))

    arrays, halves = found.numpy(), found.to(torch.float16)
    found.update(boxes=torch.tensor([[-5.0, -5, 500, 20, 0.5, 0]]), masks=torch.zeros((1, HEIGHT, WIDTH)))

    assert isinstance(arrays.boxes.data, np.ndarray)
    assert isinstance(arrays.masks.data, np.ndarray)
    assert halves.boxes.data.dtype == halves.masks.data.dtype == torch.float16
    assert found.cpu().boxes.data.device.type == "cpu"
    assert found.boxes.xyxy.tolist() == [[0, 0, 80, 20]]
    assert found.masks.data.sum() == 0
    assert len(arrays.boxes) == 3
    assert arrays.verbose() == "2 persons, 1 bus, "
    again = pickle.loads(pickle.dumps(results(ScoredMask(ring(), 0.5))))
    assert np.array_equal(again.masks.data[0].numpy(), ring())


def test_the_plot_shows_masks_boxes_and_labels() -> None:
    image = np.full((400, 800, 3), 100, np.uint8)
    mask = np.kron(ring(), np.ones((10, 10))).astype(bool)
    encoded = EncodedMasks((run_lengths_from_mask(mask),), (400, 800))
    found = Results(image, "cat.png", {7: "bus"}, torch.tensor([[200.0, 100, 600, 300, 0.5, 7]]), encoded)

    drawn = found.plot()

    assert drawn.shape == image.shape
    blue_green_red = mask_colour(7)[::-1]
    assert tuple(drawn[280, 500]) == tuple(int(100 * 0.55 + c * 0.45) for c in blue_green_red)
    assert tuple(drawn[200, 400]) == (100, 100, 100)  # the hole
    assert (image == 100).all()
    assert tuple(drawn[100, 500]) == blue_green_red  # the box, over the mask's white border
    assert (drawn[70:96, 202:300] == 255).any()  # the label above it
    bare = found.plot(masks=False, boxes=False)
    assert np.array_equal(bare, image)
    assert np.array_equal(found.plot(labels=False, conf=False, masks=False)[70:96], image[70:96])
    assert (found.plot(img=np.zeros_like(image))[0, 0] == 0).all()
    assert tuple(found.plot(color_mode="instance")[280, 500]) != tuple(drawn[280, 500])
    assert found.plot(pil=True).size == (800, 400)
    with pytest.raises(ValueError, match="color_mode='rainbow'; needed: 'class' or 'instance'"):
        found.plot(color_mode="rainbow")
    with pytest.raises(ValueError, match=r"needed: that of the masks, \(400, 800\)"):
        found.plot(img=np.zeros((5, 5, 3), np.uint8))


def test_the_plot_is_saved_and_shown_in_its_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = results(ScoredMask(ring(), 0.9))
    monkeypatch.chdir(tmp_path)
    shown: list[PIL.Image.Image] = []
    monkeypatch.setattr(PIL.ImageShow, "_viewers", [Viewer(shown)])

    path = found.save(tmp_path / "new" / "overlay.png", labels=False)
    default = found.save()
    found.show(boxes=False)

    assert path == str(tmp_path / "new" / "overlay.png")
    assert np.array_equal(cv2.imread(path), found.plot(labels=False))
    assert default == "results_cat.png"
    assert np.array_equal(cv2.imread(default), found.plot())
    assert np.array_equal(np.array(shown[0])[..., ::-1], found.plot(boxes=False))
    with pytest.raises(ValueError, match="unknown file extension"):
        found.save(tmp_path / "overlay.xyz")


class Viewer(PIL.ImageShow.Viewer):
    """A viewer that keeps what it is shown."""

    def __init__(self, shown: list[PIL.Image.Image]) -> None:
        self.shown = shown

    def show(self, image: PIL.Image.Image, **options: object) -> int:
        self.shown.append(image)
        return 1


def test_labels_are_those_of_yolo(tmp_path: Path) -> None:
    detected(PERSONS_AND_BUS[:2]).save_txt(tmp_path / "labels" / "boxes.txt", save_conf=True)
    masks = results(ScoredMask(two_parts()[:, ::-1], 0.9), ScoredMask(np.zeros((HEIGHT, WIDTH), bool), 0.8))
    masks[:1].save_txt(tmp_path / "masks.txt")
    masks.save_txt(tmp_path / "masks.txt")

    assert (tmp_path / "labels" / "boxes.txt").read_text().splitlines() == [
        "0 0.25 0.375 0.25 0.5 0.75",
        "7 0.5 0.5 1 1 0.5",
    ]
    once, again = (tmp_path / "masks.txt").read_text().splitlines()  # the file grows; an empty mask has no line
    assert once == again
    assert once.split()[0] == "0"
    places = np.array(once.split()[1:], float).reshape(-1, 2)
    assert places.min() == 0
    assert places.max() == 0.9875  # the last of 80 columns


def test_crops_are_a_file_per_object(tmp_path: Path) -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :40] = (200, 0, 0)
    found = detected(PERSONS_AND_BUS, image=image)

    found.save_crop(tmp_path, "cat.png")
    found.save_crop(tmp_path, "cat.png")

    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    persons = [f"person/cat{number}.jpg" for number in ("-2", "-3", "-4", "")]
    assert files == ["bus/cat-2.jpg", "bus/cat.jpg", *persons]
    crop = cv2.imread(str(tmp_path / "person" / "cat.jpg"))
    assert crop.shape == (30, 31, 3)  # 20 * 1.02 + 10, cut off at the top
    assert crop[15, 15, 0] > 150  # blue, as in the image
    assert crop[15, 15, 2] < 50


def test_tables_have_a_row_per_object() -> None:
    found = detected(PERSONS_AND_BUS[:2], torch.from_numpy(np.array([ring(), two_parts()])))

    first = found.summary()[0]
    assert first["name"] == "person"
    assert first["class"] == 0
    assert first["confidence"] == 0.75
    assert first["box"] == {"x1": 10.0, "y1": 5.0, "x2": 30.0, "y2": 25.0}
    assert set(first["segments"]) == {"x", "y"}
    assert min(first["segments"]["x"]) == 20.0
    assert found.summary(normalize=True, decimals=2)[1]["box"] == {"x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 1.0}
    assert json.loads(found.to_json()) == found.summary()
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["name"] for row in rows] == ["person", "bus"]
    assert rows[0]["box"] == repr(first["box"])
    assert "segments" not in detected(PERSONS_AND_BUS).summary()[0]


def test_a_data_frame_needs_polars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", None)

    with pytest.raises(ImportError, match=r"to_df needs Polars.*pip install polars"):
        detected(PERSONS_AND_BUS).to_df()


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


def test_label_studio_gets_brush_regions_from_an_encoder_and_a_label_per_mask() -> None:
    found = results(ScoredMask(ring(), 0.5), ScoredMask(two_parts(), 0.25))

    prediction = found.to_label_studio(label=["Cat", "Dog"], encode_mask=lambda mask: [int(mask.sum())])

    values = [region["value"] for region in prediction["result"]]
    assert values == [
        {"format": "rle", "rle": [600], "brushlabels": ["Cat"]},
        {"format": "rle", "rle": [160], "brushlabels": ["Dog"]},
    ]
    assert prediction["score"] == 0.375
    with pytest.raises(ValueError, match="3 labels for 2 masks"):
        found.to_label_studio(label=["a", "b", "c"])


def test_details_belong_to_the_masks() -> None:
    candidates = (ScoredMask(two_parts(), 0.4), ScoredMask(ring(), 0.2))
    found = results(ScoredMask(ring(), 0.9, alternatives=candidates), ScoredMask(ring(), 0.3))

    assert found.scores.tolist() == pytest.approx([0.9, 0.4, 0.2, 0.3])
    logits = np.ones((8, 8), dtype=np.float32)
    assert results(ScoredMask(ring(), 0.5, logits), ScoredMask(ring(), 0.5, 2 * logits)).low_res_logits is not None
    assert results(ScoredMask(ring(), 0.5, logits), ScoredMask(ring(), 0.5)).low_res_logits is None
    details = MaskDetails(stability_scores=np.array([0.9, 0.8], np.float32))
    with_stability = Results(found.orig_img, "a.png", {0: "0"}, torch.zeros((2, 6)), details=details)
    assert with_stability[1].stability_scores.tolist() == pytest.approx([0.8])
