"""Which files are images, and what is said of the others."""

import os

import pytest

from model.images import ImageError, find_images
from tests.support.images import draw_corners, read_problem
from tests.support.paths import lock_folders


def test_not_an_image_names_the_file_and_the_kinds(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("milk, eggs")
    assert read_problem(path) == (
        f"{path}: not an image that can be opened; give a JPEG, PNG, WebP, HEIC, GIF, BMP or TIFF "
        "file"
    )
    assert read_problem(b"milk, eggs").startswith("image: not an image")


def test_postscript_is_never_run(tmp_path):
    path = tmp_path / "drawing.png"
    draw_corners().save(path, "EPS")
    assert "PostScript" in read_problem(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    assert read_problem(path).startswith(f"{path}: an empty file")
    assert "empty file" in read_problem(b"")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"%PDF-1.7 ...", "a PDF; save its page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns=...", "an SVG drawing"),
        (b"  <svg width='3'>", "an SVG drawing"),
        (b"<?xml version='1.0'?><html>", "not an image"),
        (b"%!PS-Adobe", "PostScript"),
        (b"PK\x03\x04....", "a zip or a document"),
        (b"\0\0\0\x20ftypisom....", "a video"),
    ],
)
def test_what_people_take_for_photos_is_called_by_its_name(data, message):
    assert message in read_problem(data)


def test_find_images_in_a_folder(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", ".hidden.jpg", ".git/d.jpg", "notes.txt", "e.eps"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.jpg").mkdir()
    names = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert names == ["a.png", "b.JPG", os.path.join("sub", "c.webp")]
    assert find_images(str(tmp_path)) == find_images(tmp_path)


def test_find_images_keeps_a_file_whatever_its_suffix(tmp_path):
    path = tmp_path / "photo.backup"
    path.touch()
    assert find_images(path) == [path]


def test_find_images_reports_a_missing_path_and_an_empty_folder(tmp_path):
    with pytest.raises(ImageError, match="missing: no such file or folder; check the path"):
        find_images(tmp_path / "missing")
    with pytest.raises(ImageError, match=r"a folder without images; give one with JPEG"):
        find_images(tmp_path)


def test_a_photo_that_git_lfs_has_not_fetched(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    assert read_problem(path).startswith(
        f"{path}: a Git LFS pointer"
    ) and "git lfs pull" in read_problem(path)


def test_find_images_follows_links_and_keeps_what_is_lost(tmp_path, monkeypatch):
    folder, disk = tmp_path / "photos", tmp_path / "disk"
    for name in ("a.jpg", "locked/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    disk.mkdir()
    (disk / "c.jpg").touch()
    (folder / "album").symlink_to(disk)
    (disk / "circle").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "unmounted")
    (folder / "notes.jpg.txt").touch()
    lock_folders(monkeypatch, "locked")
    paths = find_images(folder)
    assert [str(path.relative_to(folder)) for path in paths] == [
        "a.jpg",
        "album/c.jpg",
        "gone",
        "locked",
    ]
    assert read_problem(folder / "locked").startswith(
        f"{folder / 'locked'}: cannot be opened (Permission"
    )
    assert "the link leads nowhere" in read_problem(folder / "gone")
