"""Folders with links, what lies beside a missing file, and files that Git LFS has not fetched."""

import os
import unicodedata

import pytest

from model.files import find_similar, is_lfs_pointer, suggest_similar, walk_files, walk_folders
from tests.support.lfs import POINTER
from tests.support.paths import lock_folders


def test_links_are_followed_and_circles_end(tmp_path):
    photos, disk = tmp_path / "photos", tmp_path / "disk"
    (photos / ".hidden").mkdir(parents=True)
    (disk / "deep").mkdir(parents=True)
    for path in (photos / "a.jpg", photos / ".hidden/b.jpg", disk / "c.jpg", disk / "deep/d.jpg"):
        path.touch()
    (photos / "album").symlink_to(disk)
    (photos / "again").symlink_to(disk)
    (disk / "deep" / "up").symlink_to(photos)
    (photos / "itself").symlink_to("itself")
    os.mkfifo(photos / "pipe.jpg")
    names = [str(path.relative_to(photos)) for path in walk_files(photos)]
    whole = ["c.jpg", "deep/d.jpg"]
    assert names == [
        "a.jpg",
        "itself",
        *[f"{name}/{n}" for name in ("again", "album") for n in whole],
    ]
    assert [len(names) for _, names in walk_folders(photos, depth=0)] == [3]


def test_a_folder_that_cannot_be_read_does_not_end_the_rest(tmp_path, monkeypatch):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    lock_folders(monkeypatch, "a")
    problems = []
    assert list(walk_files(tmp_path, problems.append)) == [tmp_path / "b/2.jpg"]
    assert [error.filename for error in problems] == [str(tmp_path / "a")]
    with pytest.raises(PermissionError):
        list(walk_files(tmp_path))


@pytest.mark.parametrize(
    "there, named",
    [
        ("Photos/x.JPG", "photos/x.jpg"),
        ("Photos/x.jpeg", "Photos/x.jpg"),
        ("Photos/x.png", "Photos/X.JPG"),
        ("Photos/caf\u00e9.jpg", "Photos/cafe\u0301.jpg"),
        ("caf\u00e9/Cafe\u0301.jpg", "cafe\u0301/caf\u00e9.jpg"),
        ("Photos/x.jpg", "Photos\\x.jpg"),
        ("Photos/x.jpg", "Photos/./x.jpg "),
        ("runs/Best/config.json", "runs/best"),
        ("Photos/x.jpg", "Photos/y.jpg"),
        ("Photos/x.txt", "Photos/x.jpg"),
        ("Photos/x.jpg", "Photos/x.txt"),
        ("Photos/x.jpg", "Other/x.jpg"),
    ],
)
def test_what_lies_beside_a_missing_file(tmp_path, there, named, monkeypatch):
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).touch()
    folder = tmp_path / os.path.dirname(there)
    expected = folder if named == "runs/best" else tmp_path / there
    if named in ("Photos/y.jpg", "Photos/x.txt", "Other/x.jpg") or there == "Photos/x.txt":
        expected = None
    assert find_similar(f"{tmp_path}/{named}") == expected
    monkeypatch.chdir(tmp_path)
    assert find_similar(named) == (expected and expected.relative_to(tmp_path))
    assert bool(suggest_similar(named)) == bool(expected)


def test_names_that_look_the_same_are_told_apart(tmp_path):
    (tmp_path / "caf\u00e9.jpg").touch()
    told = suggest_similar(unicodedata.normalize("NFD", f"{tmp_path}/caf\u00e9.jpg"))
    assert "in another Unicode form" in told and "Unicode" not in suggest_similar(
        f"{tmp_path}/CAF\u00c9.jpg"
    )


def test_a_pointer_of_git_lfs():
    assert is_lfs_pointer(POINTER) and is_lfs_pointer(POINTER[:64])
    assert not is_lfs_pointer(b"version 2") and not is_lfs_pointer(b"")
