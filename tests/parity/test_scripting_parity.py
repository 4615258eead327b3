"""Scripts get Ultralytics 8.4's results: the same calls on the same files of seeded weights.

The masks of seeded weights are noise over the whole image, so both decoders of SAM add a blob to each mask. An image of
1024 x 1024 pixels reaches both encoders as it is, and everything is equal. Other images are scaled and padded as in
segment-anything, with Pillow's filter, and with zeros after the normalisation. Ultralytics uses OpenCV's filter and
grey, so scores and the masks' edges differ a little.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sam_model
from sam_testing.prompt_blobs import blobs
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.ultralytics_files import ultralytics_image, write_ultralytics_file

ultralytics = pytest.importorskip("ultralytics")

pytestmark = pytest.mark.parity

SIZES = {"unscaled": (1024, 1024), "wide": (1333, 777), "small": (375, 500)}  # width, height
LEAST_IOU = {"unscaled": 0.999, "small": 0.95}
SCORE_TOLERANCE = {"unscaled": 1e-3, "small": 0.03}
BOX_TOLERANCE = {"unscaled": 0, "small": 30}  # pixels
# in shares of the image's width and height
PROMPTS: dict[str, dict[str, Any]] = {
    "a point": {"points": [0.5, 0.4], "labels": [1]},
    "several points": {"points": [[0.3, 0.2], [0.5, 0.4]], "labels": [1, 1]},
    "points of one object": {"points": [[[0.3, 0.2], [0.5, 0.4]]], "labels": [[1, 0]]},
    "a box": {"bboxes": [0.1, 0.1, 0.4, 0.6]},
    "several boxes": {"bboxes": [[0.1, 0.1, 0.4, 0.6], [0.3, 0.05, 0.7, 0.4]]},
    "boxes with points": {
        "bboxes": [[0.1, 0.1, 0.4, 0.6], [0.3, 0.05, 0.7, 0.4]],
        "points": [[[0.2, 0.3]], [[0.5, 0.1]]],
        "labels": [[1], [0]],
    },
    "three masks": {"points": [0.5, 0.4], "labels": [1], "multimask_output": True},
    "a high conf": {"points": [[0.3, 0.2], [0.5, 0.4]], "multimask_output": True, "conf": 0.7},
    "nothing above conf": {"points": [0.5, 0.4], "conf": 0.99},
}
Models = tuple[Any, Any]
Images = Callable[[str], NDArray[np.uint8]]


class TheirSam:
    """Ultralytics' SAM predictor, called as our `SAM`: its own `SAM` takes no masks and no settings of everything."""

    def __init__(self, file: Path) -> None:
        from ultralytics.models.sam import Predictor

        overrides = {"model": str(file), "imgsz": 1024, "device": "cpu", "verbose": False, "save": False}
        self.predictor = Predictor(overrides=overrides)
        self.predictor.setup_model(verbose=False)

    def __call__(self, image: NDArray[np.uint8], conf: float = 0.25, iou: float = 0.7, **arguments: Any) -> Any:
        del arguments["device"], arguments["verbose"]
        self.predictor.args.conf, self.predictor.args.iou = conf, iou
        return self.predictor(source=image, **arguments)


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded checkpoint of MobileSAM."""
    return write_seeded_checkpoint(tmp_path_factory.mktemp("sam") / "mobile_sam.pt")


@pytest.fixture(scope="module")
def sams(sam_file: Path) -> Models:
    """Ultralytics' MobileSAM and ours, from one file."""
    torch.set_num_threads(2)
    return TheirSam(sam_file), sam_model.SAM(sam_file, device="cpu")


@pytest.fixture(scope="module")
def fast_sams(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Ultralytics' FastSAM and ours, from one file."""
    file = write_ultralytics_file(tmp_path_factory.mktemp("fast_sam") / "FastSAM-s.pt", "yolov8s-seg.yaml", 1, 640)
    return ultralytics.FastSAM(str(file)), sam_model.FastSAM(file, device="cpu")


def image_of(size: str) -> NDArray[np.uint8]:
    """An image, BGR."""
    image = cv2.resize(ultralytics_image("bus.jpg"), SIZES[size], interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])


def in_pixels(prompts: dict[str, Any], size: str) -> dict[str, Any]:
    """Prompts with places in whole pixels."""
    width, height = SIZES[size]

    def scaled(places: Any) -> Any:
        array = np.array(places)
        return np.rint(array * np.resize([width, height], array.shape[-1])).astype(int).tolist()

    return {name: scaled(value) if name in ("points", "bboxes") else value for name, value in prompts.items()}


def both(models: Models, image: NDArray[np.uint8], **arguments: Any) -> tuple[Any, Any]:
    """Return their results and ours of one image."""
    theirs, ours = models
    (their_results,) = theirs(image, device="cpu", verbose=False, **arguments)
    (our_results,) = ours(image, verbose=False, **arguments)
    return their_results, our_results


def assert_equal(
    theirs: Any, ours: Any, least_iou: float = 0.999, box_tolerance: float = 0.0, score_tolerance: float = 1e-3
) -> None:
    """Two results of one image are the same to a script."""
    assert len(ours) == len(theirs)
    assert ours.names == theirs.names
    assert ours.orig_shape == theirs.orig_shape
    assert ours.path == theirs.path
    assert np.array_equal(ours.orig_img, theirs.orig_img)
    assert ours.boxes.data.shape == theirs.boxes.data.shape
    assert ours.boxes.data.dtype == theirs.boxes.data.dtype
    assert torch.equal(ours.boxes.cls, theirs.boxes.cls)
    if len(theirs):
        assert (ours.boxes.conf - theirs.boxes.conf).abs().max() <= score_tolerance
        assert (ours.boxes.xyxy - theirs.boxes.xyxy).abs().max() <= box_tolerance
    assert (ours.masks is None) == (theirs.masks is None)
    if theirs.masks is not None:
        assert ours.masks.data.shape == theirs.masks.data.shape
        assert ours.masks.data.dtype == theirs.masks.data.dtype
        for our_mask, their_mask in zip(ours.masks.data.bool(), theirs.masks.data.bool(), strict=True):
            union = (our_mask | their_mask).sum()
            most_wrong = max(1, (1 - least_iou) * union)  # one pixel of a small mask is more than .001
            assert (our_mask ^ their_mask).sum() <= most_wrong


@pytest.mark.parametrize("size", ["unscaled", "small"])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
def test_sam_answers_prompts(sams: Models, prompts: dict[str, Any], size: str) -> None:
    with blobs(sams[0].predictor.model.mask_decoder, sams[1].segmenter.model.mask_decoder):
        theirs, ours = both(sams, image_of(size), **in_pixels(prompts, size))

    assert_equal(theirs, ours, LEAST_IOU[size], BOX_TOLERANCE[size], SCORE_TOLERANCE[size])
    if prompts.get("conf", 0) < 0.9:
        assert len(ours) > 0


@pytest.mark.parametrize("factor", [1, 0.5], ids=["image's size", "half the size"])
def test_sam_answers_masks(sams: Models, factor: float) -> None:
    mask = np.zeros((int(1024 * factor), int(1024 * factor)), np.uint8)
    mask[int(200 * factor) : int(500 * factor), int(300 * factor) : int(700 * factor)] = 1

    with blobs(sams[0].predictor.model.mask_decoder, sams[1].segmenter.model.mask_decoder):
        image, prompts = image_of("unscaled"), {"bboxes": [300, 200, 700, 500], "masks": mask}
        theirs, ours = both(sams, image, **prompts)
        _, without = both(sams, image, bboxes=[300, 200, 700, 500])

    assert_equal(theirs, ours)
    assert not np.array_equal(without.low_res_logits, ours.low_res_logits)


@pytest.mark.parametrize(
    "settings",
    [
        {"points_stride": 6, "conf_thres": 0.6, "stability_score_thresh": 0.6},
        {"points_stride": 6, "conf_thres": 0.6, "stability_score_thresh": 0.6, "conf": 0.72, "iou": 0.3},
        {"points_stride": 6, "conf_thres": 0.99},
        {"points_stride": 5, "conf_thres": 0.6, "stability_score_thresh": 0.6, "min_mask_region_area": 400},
    ],
    ids=["plain", "conf and iou", "nothing", "small regions"],
)
def test_sam_segments_everything(sams: Models, settings: dict[str, Any]) -> None:
    with blobs(sams[0].predictor.model.mask_decoder, sams[1].segmenter.model.mask_decoder):
        theirs, ours = both(sams, image_of("unscaled"), **settings)

    assert_equal(theirs, ours)
    assert len(ours) > 1 or settings["conf_thres"] == 0.99


FAST_PROMPTS: dict[str, dict[str, Any]] = {
    "everything": {},
    "everything at full size": {"retina_masks": True},
    "a point": {"points": [0.5, 0.5], "labels": [1]},
    "several points": {"points": [[0.5, 0.5], [0.2, 0.7]], "labels": [1, 1]},
    "points on and off": {"points": [[0.5, 0.5], [0.2, 0.7]], "labels": [1, 0]},
    "a point off": {"points": [[0.5, 0.5]], "labels": [0]},
    "a box": {"bboxes": [0.1, 0.2, 0.9, 0.8]},
    "several boxes": {"bboxes": [[0.1, 0.2, 0.9, 0.8], [0.0, 0.5, 0.5, 1.0]], "retina_masks": True},
    "a box and a point": {"bboxes": [0.0, 0.5, 0.5, 1.0], "points": [[0.5, 0.5]], "labels": [1]},
    "conf, iou and max_det": {"conf": 0.4, "iou": 0.9, "max_det": 20},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("prompts", FAST_PROMPTS.values(), ids=FAST_PROMPTS)
def test_fast_sam_selects_the_same_objects(fast_sams: Models, prompts: dict[str, Any], size: str) -> None:
    theirs, ours = both(fast_sams, image_of(size), imgsz=640, **in_pixels(prompts, size))

    assert_equal(theirs, ours, 0.999, box_tolerance=0.05)
    assert len(ours) > 0


def test_fast_sam_s_texts_need_clip_in_ultralytics_and_a_class_here(fast_sams: Models) -> None:
    """Ultralytics compares texts with crops by CLIP, which this package does not have; class names select objects."""
    _, ours = fast_sams
    image = image_of("small")

    (everything,) = ours(image, imgsz=640, verbose=False)
    (by_text,) = ours(image, imgsz=640, verbose=False, texts=ours.names[0])

    assert torch.equal(by_text.boxes.data, everything.boxes.data)
    with pytest.raises(ValueError, match="unknown class 'a bus'"):
        ours(image, texts="a bus", verbose=False)


@pytest.fixture(scope="module")
def pairs_of_results(sams: Models, fast_sams: Models) -> list[tuple[Any, Any]]:
    """Their results and ours: SAM's masks at full size, FastSAM's at the size of the network's input, none."""
    with blobs(sams[0].predictor.model.mask_decoder, sams[1].segmenter.model.mask_decoder):
        sam = both(sams, image_of("unscaled"), points=[[300, 200], [500, 400]], labels=[1, 1])
    fast_sam = both(fast_sams, image_of("small"), imgsz=640, max_det=5)
    return [sam, fast_sam, both(fast_sams, image_of("small"), imgsz=640, conf=1.0)]


def test_every_property_has_the_same_type_and_value(pairs_of_results: list[tuple[Any, Any]]) -> None:
    for theirs, ours in pairs_of_results:
        for name in ("xyxy", "xyxyn", "xywh", "xywhn", "conf", "cls"):
            their_values, our_values = getattr(theirs.boxes, name), getattr(ours.boxes, name)
            assert our_values.dtype == their_values.dtype
            assert our_values.shape == their_values.shape
            assert torch.allclose(our_values, their_values, atol=0.05)
        assert ours.boxes.is_track is theirs.boxes.is_track
        assert ours.boxes.id is theirs.boxes.id is None
        assert set(ours.speed) == set(theirs.speed)
        assert ours.verbose() == theirs.verbose()
        assert [len(one) for one in ours] == [len(theirs[index]) for index in range(len(theirs))]
        for name in ("probs", "keypoints", "obb", "semantic_mask", "depth", "save_dir"):
            assert getattr(ours, name) is getattr(theirs, name) is None
        public = {name for name in dir(theirs) if not name.startswith("_")}
        assert public - set(dir(ours)) == set()
        assert {name for name in dir(theirs.boxes) if not name.startswith("_")} - set(dir(ours.boxes)) == set()
        if theirs.masks is not None:
            assert {name for name in dir(theirs.masks) if not name.startswith("_")} - set(dir(ours.masks)) == set()


def test_outlines_enclose_the_same_pixels(pairs_of_results: list[tuple[Any, Any]]) -> None:
    """The lines from part to part, which the filling draws, may lead elsewhere."""
    for theirs, ours in pairs_of_results[:2]:
        for name, size in (("xy", (1, 1)), ("xyn", ours.orig_shape[::-1])):
            for our_outline, their_outline in zip(getattr(ours.masks, name), getattr(theirs.masks, name), strict=True):
                assert our_outline.dtype == their_outline.dtype == np.float32
                ours_filled, theirs_filled = (
                    filled(np.asarray(one * size), ours.orig_shape) for one in (our_outline, their_outline)
                )
                assert (ours_filled & theirs_filled).sum() >= 0.95 * (ours_filled | theirs_filled).sum()


def filled(outline: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels within an outline."""
    drawn = cv2.fillPoly(np.zeros(size, np.uint8), [np.rint(outline).astype(np.int32)], 1)
    return np.asarray(drawn, dtype=bool)


def test_tables_and_files_are_the_same(pairs_of_results: list[tuple[Any, Any]], tmp_path: Path) -> None:
    for number, (theirs, ours) in enumerate(pairs_of_results):
        their_rows, our_rows = theirs.summary(), ours.summary()
        assert [list(row) for row in our_rows] == [list(row) for row in their_rows]
        for our_row, their_row in zip(our_rows, their_rows, strict=True):
            assert (our_row["name"], our_row["class"]) == (their_row["name"], their_row["class"])
            assert our_row["box"] == pytest.approx(their_row["box"], abs=0.05)
        if our_rows:
            assert ours.to_df().columns == theirs.to_df().columns
            assert ours.to_csv().splitlines()[0] == theirs.to_csv().splitlines()[0]
            assert [list(row) for row in json.loads(ours.to_json())] == [list(row) for row in their_rows]
        lines = []
        for who, results in (("theirs", theirs), ("ours", ours)):
            file = tmp_path / f"{number}-{who}.txt"
            results.save_txt(file, save_conf=True)
            results.save_crop(tmp_path / f"{number}-{who}")
            lines.append(file.read_text().splitlines() if file.exists() else [])
        assert [line.split()[0] for line in lines[1]] == [line.split()[0] for line in lines[0]]
        crops = [sorted(tmp_path.glob(f"{number}-{who}/*/*.jpg")) for who in ("theirs", "ours")]
        assert [path.parts[-2:] for path in crops[1]] == [path.parts[-2:] for path in crops[0]]
        for their_crop, our_crop in zip(*crops, strict=True):
            their_image, our_image = cv2.imread(str(their_crop)), cv2.imread(str(our_crop))
            assert their_image is not None
            assert our_image is not None
            assert np.abs(np.subtract(their_image.shape, our_image.shape)).max() <= 1
        assert ours.plot().shape == theirs.plot().shape
        assert ours.plot().dtype == theirs.plot().dtype


def test_supervision_reads_and_draws_them(pairs_of_results: list[tuple[Any, Any]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import supervision

        for theirs, ours in pairs_of_results:
            expected, found = (supervision.Detections.from_ultralytics(results) for results in (theirs, ours))
            assert np.allclose(found.xyxy, expected.xyxy, atol=0.05)
            assert found.class_id.tolist() == expected.class_id.tolist()
            assert found.data["class_name"].tolist() == expected.data["class_name"].tolist()
            assert (found.mask is None) == (expected.mask is None)
            if expected.mask is not None:
                assert found.mask.dtype == expected.mask.dtype
                assert (found.mask != expected.mask).mean() < 1e-3
            for annotator in (
                supervision.MaskAnnotator(),
                supervision.PolygonAnnotator(),
                supervision.BoxAnnotator(),
                supervision.LabelAnnotator(),
            ):
                drawn = annotator.annotate(ours.orig_img.copy(), found)
                assert (drawn != ours.orig_img).any() == (len(ours) > 0)


@pytest.mark.parametrize("prompts", [{"points": [500, 300], "labels": [1]}, {"bboxes": [[100, 100, 400, 500]]}])
def test_the_documentation_s_calls_answer_the_same(sam_file: Path, prompts: dict[str, Any]) -> None:
    models = ultralytics.SAM(str(sam_file)), sam_model.SAM(sam_file, device="cpu")

    theirs, ours = both(models, image_of("unscaled"), **prompts)

    assert_equal(theirs, ours, 0.99, box_tolerance=1)  # without blobs the masks are noise


def test_the_predictor_keeps_an_image_as_theirs_does(sam_file: Path) -> None:
    from ultralytics.models.sam import Predictor

    overrides = {"conf": 0.25, "task": "segment", "mode": "predict", "imgsz": 1024, "model": str(sam_file)}
    overrides["verbose"] = False
    theirs, ours = Predictor(overrides={**overrides, "device": "cpu"}), sam_model.SAMPredictor(overrides=overrides)
    for predictor in (theirs, ours):
        predictor.set_image(image_of("unscaled"))
    with blobs(theirs.model.mask_decoder, ours.segmenter.model.mask_decoder):
        for prompts in ({"points": [500, 300], "labels": [1]}, {"bboxes": [[100, 100, 400, 500], [0, 0, 300, 300]]}):
            assert_equal(theirs(**prompts)[0], ours(**prompts)[0])
    for predictor in (theirs, ours):
        predictor.reset_image()
