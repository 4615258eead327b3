import logging
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from sam_model.scripting import url_files
from sam_model.scripting.sources import open_source
from sam_testing.web_server import Answer, Asked, serving

RED_BGR, HEIGHT, WIDTH = (30, 10, 200), 20, 30


def image(shade: int = 0) -> np.ndarray:
    """BGR (20, 30, 3): red on the left, a shade of grey on the right."""
    pixels = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
    pixels[:, :15] = RED_BGR
    return pixels


def write(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image(shade))
    return path


def write_video(path: Path, shades: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    for shade in shades:
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    return path


def paths_of(source: object) -> list[str]:
    return [Path(one.path).name for one in open_source(source)]


def test_a_path_a_pillow_image_an_array_and_a_tensor_are_the_same_image(tmp_path: Path) -> None:
    path = write(tmp_path / "red.png")
    rgb = torch.from_numpy(image()[..., ::-1].copy()).permute(2, 0, 1)

    for source in (path, str(path), PIL.Image.open(path), image(), rgb.float()[None] / 255, rgb / 255, rgb[None]):
        (found,) = open_source(source)
        assert found.image.flags.c_contiguous
        np.testing.assert_array_equal(found.image, image())
        assert (found.frame, found.total) == (None, 1)


def test_images_without_a_file_are_numbered_and_pillow_keeps_its_file_name(tmp_path: Path) -> None:
    path = write(tmp_path / "red.png")
    tensors = torch.zeros(2, 3, 32, 64)

    assert paths_of([image(), str(path), PIL.Image.open(path), image()]) == [
        "image0.jpg", "red.png", "red.png", "image3.jpg",
    ]  # fmt: skip
    assert paths_of(tensors) == ["image0.jpg", "image1.jpg"]
    assert [found.total for found in open_source([tensors, image()])] == [3, 3, 3]


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    names = ["b.png", "a.png", "c.png"]

    assert paths_of([write(tmp_path / name) for name in names]) == names


def test_a_folder_gives_its_own_images_and_then_its_videos_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "A.JPG", "c.bmp", "below/d.png", ".hidden.png"):
        write(tmp_path / name)
    (tmp_path / "notes.md").write_text("no image")
    write_video(tmp_path / "a.avi", [0, 255])

    found = [(Path(one.path).name, one.frame, one.total) for one in open_source(tmp_path)]

    assert found == [
        ("A.JPG", None, 5), ("b.png", None, 5), ("c.bmp", None, 5), ("a.avi", 1, 5), ("a.avi", 2, 5),
    ]  # fmt: skip


def test_a_pattern_may_reach_into_folders(tmp_path: Path) -> None:
    for name in ("a.png", "below/b.png", "below/deep/c.png", "below/d.jpg"):
        write(tmp_path / name)

    assert paths_of(str(tmp_path / "*.png")) == ["a.png"]
    assert paths_of(str(tmp_path / "**" / "*.png")) == ["a.png", "b.png", "c.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    assert paths_of(write(tmp_path / "a[1].png")) == ["a[1].png"]


def test_a_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    shades = [0, 80, 160, 240]
    video = write_video(tmp_path / "shades.avi", shades)

    found = list(open_source(video))

    assert [(one.frame, one.total, one.path) for one in found] == [(n, 4, str(video)) for n in (1, 2, 3, 4)]
    assert [round(float(one.image.mean()), -1) for one in found] == shades
    assert found[0].image.shape == (48, 64, 3)


def test_a_text_file_names_sources_from_the_working_directory_or_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "here" / "a.png")
    write(tmp_path / "there" / "b.png")
    write(tmp_path / "there" / "more" / "c.png")
    text = tmp_path / "there" / "list.txt"
    text.write_text("\ufeffmore/*.png\n\n  b.png \na.png\n", "utf-8")
    monkeypatch.chdir(tmp_path / "here")

    assert paths_of(text) == ["a.png", "b.png", "c.png"]


def test_a_url_is_downloaded_and_its_query_is_not_shown(tmp_path: Path) -> None:
    png = write(tmp_path / "red.png").read_bytes()
    video = write_video(tmp_path / "v.avi", [0, 90]).read_bytes()

    with serving(lambda asked: Answer(video if ".avi" in asked.path else png)) as server:
        (found,) = open_source(f"{server.url}/red.png?token=secret")
        frames = list(open_source([f"{server.url}/v.avi"]))

    np.testing.assert_array_equal(found.image, image())
    assert found.path == f"{server.url}/red.png"
    assert [(one.path, one.frame, one.total) for one in frames] == [
        (f"{server.url}/v.avi", 1, None), (f"{server.url}/v.avi", 2, None),
    ]  # fmt: skip


def _answer_of_a_bad_server(asked: Asked) -> Answer:
    if asked.path.startswith("/large"):
        return Answer(b"x" * 3_000_000)
    if asked.path.startswith("/text"):
        return Answer(b"<html>")
    return Answer(b"gone", 404)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/large.png", "more than 1 MiB"),
        ("/text.png?token=secret", r"could not read '[^']*/text.png': .*"),
        ("/text.mp4", r"could not read the video '[^']*/text.mp4': OpenCV decodes no frame"),
        ("/missing.png?token=secret", r"/missing.png': the server answered 404"),
    ],
)
def test_a_bad_answer_of_a_server_is_one_sentence(path: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_files, "MAX_IMAGE_BYTES", 1 << 20)

    with serving(_answer_of_a_bad_server) as server, pytest.raises(ValueError, match=message) as raised:
        list(open_source(f"{server.url}{path}"))

    assert "secret" not in str(raised.value)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"could not read 'http://127.0.0.1:1/a.png': .*refused"):
        list(open_source("http://user:secret@127.0.0.1:1/a.png"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jpg", "'nowhere.jpg' does not exist"),
        ("nowhere/*.jpg", r"no images or videos in 'nowhere/\*.jpg'"),
        ([], "the source is an empty list"),
        (None, "the source is a NoneType; needed: a path, URL"),
        (0, "source 0 would be a camera"),
        ("rtsp://user:secret@host/stream", "'rtsp://host/stream': streams of rtsp are not supported"),
        (torch.zeros(1, 4, 32, 32), r"the tensor has shape \(1, 4, 32, 32\); needed: \(B, 3, H, W\)"),
    ],
)
def test_a_wrong_source_is_one_sentence_before_anything_is_read(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_source(source)


@pytest.mark.parametrize("value", [-0.1, 300.0, float("nan")])
def test_a_tensor_of_other_numbers_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"the tensor has values .*; needed: RGB in 0..1"):
        list(open_source(torch.full((1, 3, 32, 32), value)))


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "empty.txt").write_text("\n")

    with pytest.raises(ValueError, match="no images or videos in"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match=r"empty.txt' is empty; needed: a path or URL per line"):
        open_source(tmp_path / "empty.txt")


def test_a_broken_image_among_others_is_reported_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    (tmp_path / "c.avi").write_bytes(b"broken")
    write(tmp_path / "d.png")
    failures: list[str] = []

    assert [Path(one.path).name for one in open_source(tmp_path, on_failure=failures.append)] == ["a.png", "d.png"]
    assert ["b.png" in failures[0], "c.avi" in failures[1], len(failures)] == [True, True, 2]
    with caplog.at_level(logging.WARNING):
        assert paths_of(tmp_path) == ["a.png", "d.png"]
    assert "b.png" in caplog.text
    assert "; skipped" in caplog.text
    with pytest.raises(ValueError, match=r"b.png"):
        list(open_source(tmp_path / "b.png"))


def test_one_image_is_in_memory_at_a_time(tmp_path: Path) -> None:
    side = 1000  # 3 MB an image
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.bmp"), np.full((side, side, 3), number, np.uint8))
    seen = 0

    tracemalloc.start()
    try:
        for _ in open_source(tmp_path):
            seen += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert seen == 8
    assert peak < 5 * 3 * side * side  # the image, its file, copies while it is decoded; 8 images are 24 MB
