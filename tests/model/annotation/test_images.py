import os
from pathlib import Path

import pytest

from sam_model.annotation.image_list import list_images
from sam_testing.blot_images import save_blots


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """b.png, a.JPG, sub/a.jpg; and what is none: notes.txt, .hidden/c.png, .thumb.png."""
    folder = tmp_path / "photos"
    for name in ("b.png", "a.JPG", "sub/a.jpg", ".hidden/c.png", ".thumb.png"):
        save_blots(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def names(data: object, leave_out: Path | None = None) -> list[str]:
    return [image.name for image in list_images(data, leave_out).images]  # type: ignore[arg-type]


def test_a_folder_stands_for_its_images_and_those_below(photos: Path) -> None:
    listed = list_images(photos)

    assert [image.name for image in listed.images] == ["a.JPG", "b.png", "sub/a.jpg"]
    assert listed.root == photos
    assert all(image.path.is_absolute() and image.path.is_file() for image in listed.images)


def test_a_pattern_stands_for_what_matches(photos: Path) -> None:
    assert names(f"{photos}/*.png") == ["b.png"]
    assert names(f"{photos}/**/*.jpg") == ["a.jpg"]
    assert names(f"{photos}/*") == ["a.JPG", "b.png"]


def test_several_parts_are_named_from_the_folder_they_share_and_each_image_comes_once(photos: Path) -> None:
    assert names([photos / "sub" / "a.jpg", photos, photos / "b.png"]) == ["a.JPG", "b.png", "sub/a.jpg"]
    assert names([photos / "sub", photos / "b.png"]) == ["b.png", "sub/a.jpg"]


def test_one_file_is_named_by_itself(photos: Path) -> None:
    assert names(photos / "notes.txt") == ["notes.txt"]  # a person named it, so it is tried


def test_relative_paths_and_detours_lead_to_the_same(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)

    assert list_images(".") == list_images(photos) == list_images("sub/..")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos: Path) -> None:
    save_blots(photos / "x[1].png")

    assert names(photos / "x[1].png") == ["x[1].png"]


def test_a_link_keeps_its_own_name(photos: Path, tmp_path: Path) -> None:
    (photos / "link.png").symlink_to(save_blots(tmp_path / "elsewhere.png"))

    assert "link.png" in names(photos)


def test_the_folder_of_the_answers_is_left_out_unless_it_is_the_one_that_is_meant(photos: Path) -> None:
    assert names(photos, photos / "sub") == ["a.JPG", "b.png"]
    assert names(photos, photos) == ["a.JPG", "b.png", "sub/a.jpg"]
    assert names(photos / "b.png", photos) == ["b.png"]
    assert names(f"{photos}/*", photos) == ["a.JPG", "b.png"]
    assert names(f"{photos}/**/*", photos / "sub") == ["a.JPG", "b.png"]


def test_what_has_no_images_is_named(photos: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    with pytest.raises(ValueError, match=r"no images in '.*empty'"):
        list_images(empty)
    with pytest.raises(ValueError, match="'nowhere' does not exist"):
        list_images([photos, "nowhere"])
    with pytest.raises(ValueError, match=r"no image matches '.*\*.txt'"):
        list_images(os.fspath(photos / "*.txt"))
    with pytest.raises(ValueError, match="no images"):
        list_images([])
