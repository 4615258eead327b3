"""Runs over images whose objects are known: what is written, what is kept, what an error does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sam_model.annotation.annotated_image import AnnotatedImage
from sam_model.annotation.annotation_run import ERRORS_FILE, AnnotationReport, run_annotation
from sam_model.annotation.annotator import Annotator, DetectionSettings
from sam_model.annotation.coco import coco_file
from sam_model.annotation.image_list import list_images
from sam_model.annotation.record_store import RecordStore
from sam_model.annotation.yolo_labels import yolo_labels
from sam_model.detectors.fixed_text import FixedTextDetector
from sam_model.interfaces import Detector
from sam_model.types import Detection, Image
from sam_testing.blot_images import CHERRY, LEAF, save_blots
from sam_testing.colour_detector import ColourDetector
from sam_testing.disc_segmenter import DiscSegmenter

DEFAULT = DetectionSettings()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.png with a cherry and a leaf, b.png with nothing, c/d.png with a leaf."""
    folder = tmp_path / "photos"
    save_blots(folder / "a.png", CHERRY, LEAF)
    save_blots(folder / "b.png")
    save_blots(folder / "c" / "d.png", LEAF, width=100)
    return folder


def annotate(
    photos: Path,
    detector: Detector,
    choice: DetectionSettings = DEFAULT,
    segmenter: DiscSegmenter | None = None,
    *,
    at_once: int = 1,
    resume: bool = True,
) -> AnnotationReport:
    """A run into photos/../out, with YOLO labels and a COCO file."""
    out = photos.parent / "out"
    annotator = Annotator(detector, segmenter or DiscSegmenter(), choice)
    files = [yolo_labels(out, annotator.class_names), coco_file(out / "coco.json", annotator.class_names)]
    images = list_images(photos).images
    return run_annotation(images, annotator, out, files, at_once=at_once, resume=resume, show_progress=False)


def coco(photos: Path) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads((photos.parent / "out" / "coco.json").read_text())
    return found


def label(photos: Path, name: str) -> str:
    return (photos.parent / "out" / f"{name}.txt").read_text()


def test_a_run_writes_every_image_and_counts(photos: Path) -> None:
    report = annotate(photos, ColourDetector())

    assert (report.images, report.resumed, report.objects, report.failures) == (3, 0, 3, ())
    assert [image["file_name"] for image in coco(photos)["images"]] == ["a.png", "b.png", "c/d.png"]
    assert [one["bbox"] for one in coco(photos)["annotations"]] == [
        [10, 5, 20, 15],
        [40, 20, 10, 20],
        [40, 20, 10, 20],
    ]
    assert [one["area"] for one in coco(photos)["annotations"]] == [300, 200, 200]
    assert [one["category_id"] for one in coco(photos)["annotations"]] == [1, 2, 2]
    assert label(photos, "b") == ""


def test_a_yolo_line_has_the_class_and_the_corners_in_parts_of_the_image(photos: Path) -> None:
    annotate(photos, ColourDetector())

    number, *corners = label(photos, "c/d").split()
    x, y = np.array(corners[0::2], float) * 100, np.array(corners[1::2], float) * 50
    assert number == "1"
    assert sorted(set(np.round(x, 2))) == [40.05, 49.95]
    assert sorted(set(np.round(y, 2))) == [20.05, 39.95]
    assert len(corners) == 8


def test_what_is_done_is_not_done_again(photos: Path) -> None:
    annotate(photos, ColourDetector())
    again = ColourDetector()
    first = (photos.parent / "out" / "coco.json").read_bytes()

    report = annotate(photos, again)

    assert again.images == 0
    assert (report.images, report.resumed, report.objects) == (3, 3, 3)
    assert (photos.parent / "out" / "coco.json").read_bytes() == first


def test_without_resume_everything_is_done_anew(photos: Path) -> None:
    annotate(photos, ColourDetector())
    again = ColourDetector()

    assert annotate(photos, again, resume=False).resumed == 0
    assert again.images == 3


def test_an_image_that_changed_is_done_again(photos: Path) -> None:
    annotate(photos, ColourDetector())
    save_blots(photos / "b.png", CHERRY)
    again = ColourDetector()

    report = annotate(photos, again)

    assert again.images == 1
    assert (report.resumed, report.objects) == (2, 4)


@pytest.mark.parametrize(
    "choice",
    [
        DetectionSettings(score_threshold=0.7),
        DetectionSettings(iou_threshold=0.5),
        DetectionSettings(max_detections=1),
        DetectionSettings(classes=("leaf",)),
        DetectionSettings(names={"leaf": "Leaf"}),
    ],
)
def test_records_of_other_settings_do_not_count(photos: Path, choice: DetectionSettings) -> None:
    annotate(photos, ColourDetector())
    again = ColourDetector()

    assert annotate(photos, again, choice).resumed == 0
    assert again.images == 3


def test_a_record_that_is_cut_off_does_not_count(photos: Path) -> None:
    annotate(photos, ColourDetector())
    for record in (photos.parent / "out" / ".annotate").glob("*.json"):
        record.write_bytes(record.read_bytes()[:-20])
    again = ColourDetector()

    report = annotate(photos, again)

    assert again.images == 3
    assert report.objects == 3


def test_images_in_work_at_the_same_time_stay_in_order(photos: Path) -> None:
    for number in range(12):
        save_blots(photos / f"n{number:02}.png", CHERRY, width=60 + number)

    annotate(photos, ColourDetector(), at_once=4)

    images = coco(photos)["images"]
    assert [image["file_name"] for image in images][3:] == [f"n{number:02}.png" for number in range(12)]
    assert [image["width"] for image in images][3:] == [60 + number for number in range(12)]


def test_a_broken_image_is_in_the_error_file_and_the_others_are_done(photos: Path) -> None:
    (photos / "b.png").write_bytes(b"no picture")

    report = annotate(photos, ColourDetector(), at_once=2)

    (failure,) = report.failures
    (line,) = (photos.parent / "out" / ERRORS_FILE).read_text().splitlines()
    assert failure.image == "b.png"
    assert "could not read" in failure.error
    assert json.loads(line) == {"image": "b.png", "error": failure.error}
    assert (report.images, report.objects) == (2, 3)
    assert [image["file_name"] for image in coco(photos)["images"]] == ["a.png", "c/d.png"]


def test_a_model_that_stumbles_over_an_image_fails_for_that_one_only(photos: Path) -> None:
    detector = ColourDetector()
    detector.breaks_at = 2

    report = annotate(photos, detector)

    assert [(failure.image, failure.error) for failure in report.failures] == [("b.png", "RuntimeError: out of memory")]
    assert report.images == 2


def test_a_failed_image_is_tried_again_and_the_error_file_goes_when_all_is_well(photos: Path) -> None:
    detector = ColourDetector()
    detector.breaks_at = 2
    annotate(photos, detector)

    report = annotate(photos, ColourDetector())

    assert (report.images, report.resumed, report.failures) == (3, 2, ())
    assert not (photos.parent / "out" / ERRORS_FILE).exists()


def test_a_run_that_is_killed_goes_on_where_it_was(photos: Path) -> None:
    """A child process is killed by the system in the middle of the second image."""
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from sam_testing.colour_detector import ColourDetector
import test_annotation_run
class Slow(ColourDetector):
    def detect(self, image, **options):
        found = super().detect(image, **options)
        if self.images == 2:
            print("second", flush=True)
            time.sleep(60)
        return found
test_annotation_run.annotate(Path({str(photos)!r}), Slow())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"second\n"
        os.kill(child.pid, signal.SIGKILL)
    out = photos.parent / "out"
    assert not (out / "coco.json").exists()
    assert len(list((out / ".annotate").glob("*.json"))) == 1
    detector = ColourDetector()

    report = annotate(photos, detector)

    assert (detector.images, report.resumed, report.objects) == (2, 1, 3)
    assert [image["file_name"] for image in coco(photos)["images"]] == ["a.png", "b.png", "c/d.png"]
    assert not list(out.glob(".*.part"))


def test_a_run_that_ends_by_an_exception_leaves_the_file_of_the_run_before(photos: Path) -> None:
    annotate(photos, ColourDetector())
    out = photos.parent / "out"
    before = (out / "coco.json").read_bytes()

    def write_until_the_disk_is_full() -> None:
        with coco_file(out / "coco.json", ColourDetector.class_names) as add:
            add(AnnotatedImage("a.png", (1, 1), ()))
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_until_the_disk_is_full()

    assert (out / "coco.json").read_bytes() == before
    assert not list(out.glob(".*.part"))


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    upright = save_blots(tmp_path / "upright.png", CHERRY, width=60, height=50)
    with PIL.Image.open(upright) as picture:
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # to be turned right by a quarter
        picture.transpose(PIL.Image.Transpose.ROTATE_90).save(tmp_path / "photos.png", exif=exif)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.png").rename(tmp_path / "photos" / "lying.png")

    annotate(tmp_path / "photos", ColourDetector())

    (image,), (one,) = coco(tmp_path / "photos")["images"], coco(tmp_path / "photos")["annotations"]
    with PIL.Image.open(tmp_path / "photos" / "lying.png") as picture:
        assert picture.size == (50, 60)  # as it is stored
    assert (image["width"], image["height"]) == (60, 50)
    assert one["bbox"] == [10, 5, 20, 15]


def test_only_chosen_classes_are_numbered_in_the_detectors_order(photos: Path) -> None:
    annotate(photos, ColourDetector(), DetectionSettings(classes=("LEAF",)))

    assert [category["name"] for category in coco(photos)["categories"]] == ["leaf"]
    assert label(photos, "a").startswith("0 ")
    assert len(label(photos, "a").splitlines()) == 1


def test_the_most_objects_are_counted_among_the_chosen_classes(photos: Path) -> None:
    report = annotate(
        photos, ColourDetector(), DetectionSettings(classes=("leaf",), max_detections=1)
    )  # the cherry has the higher score

    assert report.objects == 2


def test_a_detector_that_is_asked_by_words_has_them_as_classes(photos: Path) -> None:
    class WordDetector:
        name, fingerprint = "words", "words-1"

        def detect_texts(self, image: Image, texts: Sequence[str], **_: float) -> list[Detection]:
            found = ColourDetector().detect(image)
            words = {"cherry": "something red", "leaf": "something green"}
            known = [one for one in found if words[one.class_name] in texts]
            return [replace(one, class_name=words[one.class_name]) for one in known]

    green, both = (
        FixedTextDetector(WordDetector(), texts)
        for texts in (["something green"], ["something green", "something red"])
    )

    annotate(photos, green)
    assert [category["name"] for category in coco(photos)["categories"]] == ["something green"]
    assert len(coco(photos)["annotations"]) == 2
    report = annotate(photos, both)
    assert (report.resumed, report.objects) == (0, 3)  # other words are other settings


def test_classes_can_be_written_under_one_other_name(photos: Path) -> None:
    annotate(photos, ColourDetector(), DetectionSettings(names={"leaf": "Plant", "cherry": "Plant"}))

    assert [category["name"] for category in coco(photos)["categories"]] == ["Plant"]
    assert [line[0] for line in label(photos, "a").splitlines()] == ["0", "0"]


def test_the_least_score_is_the_detectors(photos: Path) -> None:
    report = annotate(photos, ColourDetector(), DetectionSettings(score_threshold=0.7))  # 300 pixels: 0.75; 200: 0.67

    assert report.objects == 1


def test_many_objects_get_a_mask_each_in_their_order(tmp_path: Path) -> None:
    cells = [("cherry", (x, y, x + 4, y + 3)) for y in range(0, 48, 8) for x in range(0, 56, 8)]
    save_blots(tmp_path / "photos" / "a.png", *cells)  # more than the segmenter gets at once

    report = annotate(tmp_path / "photos", ColourDetector(), DetectionSettings(score_threshold=0))

    boxes = [tuple(one["bbox"]) for one in coco(tmp_path / "photos")["annotations"]]  # type: ignore[arg-type]
    assert report.objects == len(cells) == 42
    assert sorted(boxes) == sorted((x, y, 4, 3) for _, (x, y, _, _) in cells)


def test_an_image_without_objects_is_not_embedded(photos: Path) -> None:
    segmenter = DiscSegmenter()

    annotate(photos, ColourDetector(), segmenter=segmenter)

    assert len(segmenter.images) == 2


def test_the_detectors_own_masks_are_taken_where_there_is_no_segmenter() -> None:
    image = np.full((50, 60, 3), 128, np.uint8)
    image[5:20, 10:30] = image[15:40, 10:15] = (255, 0, 0)  # an L, which fills its box in part

    (one,) = Annotator(ColourDetector(has_masks=True), None, DEFAULT).annotate(image)

    assert one.mask.area == 400
    assert one.box == (10, 5, 30, 40)


def test_what_cannot_work_is_said_before_the_first_image() -> None:
    with pytest.raises(ValueError, match="'colours' has no masks"):
        Annotator(ColourDetector(), None, DEFAULT)
    with pytest.raises(ValueError, match="unknown class 'dog'; the detector's classes: cherry, leaf"):
        Annotator(ColourDetector(), DiscSegmenter(), DetectionSettings(classes=("leaf", "dog")))
    with pytest.raises(ValueError, match="unknown class 'dog'"):
        Annotator(ColourDetector(), DiscSegmenter(), DetectionSettings(names={"dog": "Dog"}))
    with pytest.raises(ValueError, match=r"conf=1\.5"):
        Annotator(ColourDetector(), DiscSegmenter(), DetectionSettings(score_threshold=1.5))
    with pytest.raises(ValueError, match="max_detections=0"):
        Annotator(ColourDetector(), DiscSegmenter(), DetectionSettings(max_detections=0))


def test_two_runs_with_one_folder_take_turns(photos: Path) -> None:
    """The second begins when the first has let go, and so finds all its records."""
    out = photos.parent / "out"
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from filelock import FileLock
folder = Path({str(out)!r}) / ".annotate"
folder.mkdir(parents=True)
with FileLock(folder / "lock"):
    print("locked", flush=True)
    time.sleep(1.5)
    (folder.parent / "first").touch()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        annotate(photos, ColourDetector())
        assert (out / "first").exists()


def test_a_record_is_what_was_saved(photos: Path, tmp_path: Path) -> None:
    image = list_images(photos).images[0]
    store = RecordStore(tmp_path / "records", "settings")
    annotated = AnnotatedImage(
        "a.png",
        (50, 60),
        Annotator(ColourDetector(True), None, DEFAULT).annotate(np.asarray(PIL.Image.open(image.path))),
    )

    store.save(image, annotated)
    found = store.find(image)

    assert found is not None
    assert (found.name, found.size, len(found.objects)) == ("a.png", (50, 60), 2)
    for one, other in zip(found.objects, annotated.objects, strict=True):
        assert (one.class_name, one.score, one.box) == (other.class_name, other.score, other.box)
        assert np.array_equal(one.mask.mask, other.mask.mask)
    assert RecordStore(tmp_path / "records", "other settings").find(image) is None
