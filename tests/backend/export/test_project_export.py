"""Exports of a project over real HTTP, read back by pycocotools, Pillow and Label Studio's own decoder."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from sam_backend.commands.main import main
from sam_backend.shapes.brush_rle import encode_mask
from sam_model.annotation.label_outlines import paint_outlines
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio

# pycocotools 2.0.11 with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image"><Label value="Cat"/>'
    '<Label value="Dog"/></BrushLabels><PolygonLabels name="poly" toName="image"><Label value="Cat"/></PolygonLabels>'
    "</View>"
)
PAGES_CONFIG = CONFIG.replace('value="$image"', 'valueList="$pages"')
HEIGHT, WIDTH = 48, 80

COMMAND_WITH_PEAK_MEMORY = r"""
import re, sys
from pathlib import Path
from sam_backend.commands.main import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def squares(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    few = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return few.repeat(8, axis=0).repeat(8, axis=1)


def image_url(height: int = HEIGHT, width: int = WIDTH, *, orientation: int = 1, seed: int = 0) -> str:
    """Return a JPEG with squares of random colours as a data URL; with an orientation, its stored pixels are turned."""
    image = PIL.Image.fromarray(squares(height, width, seed))
    exif = PIL.Image.Exif()
    if orientation == 6:
        image = image.transpose(PIL.Image.Transpose.ROTATE_90)  # a viewer turns it clockwise
        exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif.tobytes(), quality=95)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def ring_with_island() -> NDArray[np.bool_]:
    """Return an object with a hole and a second part."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:30, 5:35] = True
    mask[12:20, 12:24] = False
    mask[35:45, 50:70] = True
    return mask


def brush(mask: NDArray[np.bool_], label: str, region_id: str, **more: Any) -> dict[str, Any]:
    """Return a stored brush region."""
    height, width = mask.shape
    return {
        "id": region_id,
        "type": "brushlabels",
        "from_name": "mask",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "value": {"format": "rle", "rle": encode_mask(mask), "brushlabels": [label]},
        **more,
    }


def annotation(number: int, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": number, "result": list(results), "was_cancelled": False, "ground_truth": False, **more}


def random_mask(seed: int) -> NDArray[np.bool_]:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    centre_y, centre_x = random.uniform(10, HEIGHT - 10), random.uniform(10, WIDTH - 10)
    found: NDArray[np.bool_] = (y - centre_y) ** 2 / 60 + (x - centre_x) ** 2 / 90 < 1
    return found


@contextmanager
def served(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with fake_label_studio(store) as url:
        monkeypatch.setenv("LABEL_STUDIO_URL", url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        yield


def small_project() -> tuple[Store, dict[str, NDArray[np.bool_]]]:
    """Return a project with 12 annotated tasks, and the mask of each region by its id."""
    store = Store(config=CONFIG)
    masks = {}
    for task in store.add_tasks(12, image_url()):
        first, second = random_mask(task), random_mask(100 + task)
        store.annotations[task] = [annotation(task, brush(first, "Cat", f"a{task}"), brush(second, "Dog", f"b{task}"))]
        masks |= {f"a{task}": first, f"b{task}": second}
    masks["a3"] = ring_with_island()
    store.annotations[3] = [
        annotation(90, brush(np.ones((HEIGHT, WIDTH), bool), "Dog", "old")),
        annotation(91, brush(masks["a3"], "Cat", "a3"), brush(masks["b3"], "Dog", "b3")),
        annotation(92, brush(np.ones((HEIGHT, WIDTH), bool), "Dog", "skipped"), was_cancelled=True),
    ]
    return store, masks


def export(out: Path, name: str, *more: str) -> int:
    return main(["export", "--project", "1", "--format", name, "--out", str(out), "--json", *more])


def test_coco_is_read_by_pycocotools_with_equal_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, masks = small_project()

    with served(store, monkeypatch):
        assert export(tmp_path, "coco", "--split", "50,25,25", "--seed", "1") == 0

    found: dict[str, NDArray[np.bool_]] = {}
    for file in sorted((tmp_path / "annotations").iterdir()):
        coco = COCO(str(file))
        split = file.stem.removeprefix("instances_")
        assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["Cat", "Dog"]
        for image in coco.imgs.values():
            with PIL.Image.open(tmp_path / "images" / split / image["file_name"]) as opened:
                assert opened.size == (image["width"], image["height"])
        for one in coco.loadAnns(coco.getAnnIds()):
            found[one["region_id"]] = coco.annToMask(one).astype(bool)
            assert one["area"] == found[one["region_id"]].sum()
    assert found.keys() == masks.keys()  # one object a region, though that of task 3 has two parts and a hole
    assert all(np.array_equal(found[name], mask) for name, mask in masks.items())


def test_the_same_seed_gives_the_same_files_and_more_tasks_move_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = small_project()
    with served(store, monkeypatch):
        export(tmp_path / "one", "yolo-seg")
        export(tmp_path / "two", "yolo-seg")
        for task in store.add_tasks(5, image_url()):
            store.annotations[task] = [annotation(task, brush(random_mask(task), "Cat", f"a{task}"))]
        export(tmp_path / "more", "yolo-seg")

    def files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}

    one, two, more = (files(tmp_path / name) for name in ("one", "two", "more"))
    assert one == two
    assert {name for name in one if "/" in name} < more.keys()


def test_yolo_polygons_give_the_masks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, masks = small_project()
    with served(store, monkeypatch):
        assert export(tmp_path, "yolo-seg", "--images", "none") == 0

    worst = 1.0
    for path in (tmp_path / "labels").rglob("*.txt"):
        task = int(path.stem[:6])
        for line, name in zip(path.read_text().splitlines(), ("a", "b"), strict=True):
            number, *numbers = line.split()
            outline = np.array(numbers, float).reshape(-1, 2) * [WIDTH, HEIGHT]
            mask, painted = masks[f"{name}{task}"], paint_outlines([outline.astype(np.float32)], (HEIGHT, WIDTH))
            assert number == {"a": "0", "b": "1"}[name]
            if f"{name}{task}" != "a3":  # trainers paint the bridge between its parts
                worst = min(worst, np.count_nonzero(mask & painted) / np.count_nonzero(mask | painted))
    assert worst >= 0.98


def test_pngs_of_objects_and_of_classes_equal_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, masks = small_project()
    with served(store, monkeypatch):
        assert export(tmp_path / "png", "png") == 0
        assert export(tmp_path / "semantic", "semantic") == 0

    for line in (tmp_path / "png" / "objects.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with PIL.Image.open(tmp_path / "png" / "masks" / entry["mask"]) as image:
            assert np.array_equal(np.asarray(image) == 255, masks[entry["region"]])
    (path,) = (tmp_path / "semantic" / "masks").rglob("000003.png")
    with PIL.Image.open(path) as image:
        assert image.mode == "P"
        values = np.asarray(image)
    cat, dog = masks["a3"], masks["b3"]
    expected = np.where(cat, 1, 0)
    expected[dog] = 2  # the smaller one is on top
    assert dog.sum() < cat.sum()
    assert np.array_equal(values, expected)


def test_turned_images_are_written_upright_and_pages_are_images_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(config=PAGES_CONFIG)
    store.tasks[1] = {"pages": [image_url(), image_url(orientation=6, seed=1)]}
    mask = ring_with_island()
    store.annotations[1] = [annotation(1, brush(mask, "Cat", "first", item_index=1))]
    with served(store, monkeypatch):
        assert export(tmp_path, "coco", "--split", "1,0,0") == 0

    coco = COCO(str(tmp_path / "annotations" / "instances_train.json"))
    assert [(one["file_name"], one["page"]) for one in coco.imgs.values()] == [
        ("000001-000.jpg", 0),
        ("000001-001.jpg", 1),
    ]
    (one,) = coco.anns.values()
    assert one["image_id"] == 2
    assert np.array_equal(coco.annToMask(one).astype(bool), mask)
    for name, seed in (("000001-000.jpg", 0), ("000001-001.jpg", 1)):
        with PIL.Image.open(tmp_path / "images" / "train" / name) as image:
            assert image.getexif().get(0x0112, 1) == 1
            difference = np.asarray(image).astype(int) - squares(HEIGHT, WIDTH, seed)
        assert np.abs(difference).mean() < 20  # compressed twice; a turned image differs by 85


def test_an_interrupted_export_continues_and_a_broken_task_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(config=CONFIG)
    for task in store.add_tasks(60, image_url()):
        store.annotations[task] = [annotation(task, brush(random_mask(task), "Cat", f"a{task}"))]
    store.tasks[7] = {"image": image_url(24, 80)}  # replaced by a smaller image after the annotation
    requests = 0

    def fail_third(method: str, path: str) -> str:
        nonlocal requests
        requests += path == "/api/tasks/"
        return "401" if requests == 3 else ""

    store.fault = fail_third
    with served(store, monkeypatch):
        assert export(tmp_path, "coco") == 1
        capsys.readouterr()
        records = (tmp_path / ".export" / "tasks.jsonl").read_bytes()
        (tmp_path / ".export" / "tasks.jsonl").write_bytes(records[:-5])  # the last line was being written
        store.fault = None
        assert export(tmp_path, "coco") == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["tasks"] == 59
    (failure,) = answer["failures"]
    assert failure["task"] == 7
    assert "80 x 48 pixels, the image has 80 x 24" in failure["error"]
    assert not (tmp_path / ".export").exists()
    assert len(list((tmp_path / "images").rglob("*.jpg"))) == 59


def test_predictions_above_a_score_fill_tasks_without_annotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = small_project()
    store.annotations[5] = []
    sure, unsure = brush(random_mask(5), "Cat", "sure", score=0.9), brush(random_mask(6), "Dog", "unsure", score=0.4)
    store.add_prediction(5, result=[sure, unsure], model_version="m")
    with served(store, monkeypatch):
        export(tmp_path / "without", "png", "--images", "none")
        export(tmp_path / "with", "png", "--images", "none", "--predictions", "--conf", "0.5")

    def regions(folder: Path) -> set[str]:
        return {json.loads(line)["region"] for line in (folder / "objects.jsonl").read_text().splitlines()}

    assert regions(tmp_path / "with") - regions(tmp_path / "without") == {"sure"}


def test_a_foreign_folder_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "mine.txt").write_text("mine")
    with served(small_project()[0], monkeypatch):
        assert export(tmp_path, "yolo-seg") == 2

    assert "other files" in capsys.readouterr().err
    assert (tmp_path / "labels" / "mine.txt").read_text() == "mine"


def test_images_below_the_link_root_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = small_project()
    (tmp_path / "root" / "cats").mkdir(parents=True)
    original = tmp_path / "root" / "cats" / "one cat.jpg"
    original.write_bytes(base64.b64decode(image_url().partition(",")[2]))
    store.tasks = {1: {"image": "/data/local-files/?d=cats/one%20cat.jpg"}}
    out = tmp_path / "out"
    with served(store, monkeypatch):
        assert export(out, "coco", "--images", "link", "--link-root", str(tmp_path / "root"), "--split", "1,0,0") == 0

    linked = out / "images" / "train" / "000001-one_cat.jpg"
    assert linked.is_symlink()
    assert linked.resolve() == original.resolve()


@pytest.mark.slow
def test_ten_thousand_tasks_need_less_than_500_mb(tmp_path: Path) -> None:
    store = Store(config=CONFIG)
    image = image_url()
    results = [brush(random_mask(seed), "Cat", f"r{seed}") for seed in range(5)]
    for task in store.add_tasks(10_000, image):
        store.annotations[task] = [annotation(task, *results)]
    with fake_label_studio(store) as url:
        ended = subprocess.run(
            [
                *(sys.executable, "-c", COMMAND_WITH_PEAK_MEMORY, "export", "--project", "1"),
                *("--format", "coco", "--out", str(tmp_path)),
            ],
            env=os.environ | {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": TOKEN},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert int(ended.stdout.splitlines()[-1]) < 500_000, ended.stdout  # kB
    sizes = [len(json.loads(file.read_bytes())["annotations"]) for file in (tmp_path / "annotations").iterdir()]
    assert sum(sizes) == 50_000


def test_label_studios_own_converter_makes_the_same_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exported tasks are read by label-studio-converter, whose brush masks equal our PNG files."""
    store, _ = small_project()
    with served(store, monkeypatch):
        assert export(tmp_path / "tasks", "label-studio", "--images", "none") == 0
        assert export(tmp_path / "png", "png", "--images", "none") == 0

    converter = pytest.importorskip("label_studio_sdk.converter").Converter(
        str(tmp_path / "tasks" / "label-config.xml"), str(tmp_path)
    )
    theirs: dict[str, NDArray[np.bool_]] = {}
    brush_module = pytest.importorskip("label_studio_sdk.converter.brush")
    for item in converter.iter_from_json_file(str(tmp_path / "tasks" / "tasks.json")):
        for value in (one for values in item["output"].values() for one in values):
            decoded = brush_module.decode_rle(value["rle"]).reshape(HEIGHT, WIDTH, 4)[:, :, 3] > 0
            theirs[f"{item['id']} {value['brushlabels'][0]}"] = decoded
    ours = {}
    for line in (tmp_path / "png" / "objects.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with PIL.Image.open(tmp_path / "png" / "masks" / entry["mask"]) as image:
            ours[f"{entry['task']} {entry['label']}"] = np.asarray(image) == 255
    assert theirs.pop("3 Dog") is not None  # the converter lists the older annotation of task 3 as well
    assert ours.pop("3 Dog") is not None
    assert len(ours) == 23
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], mask) for name, mask in ours.items())
