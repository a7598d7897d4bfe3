"""What cannot be written is said in one line, and trying changes nothing."""

import os

import pytest

from model.output_path import check_output_file, check_output_folder


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    os.utime(tmp_path / "file", (1, 1))
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "gone").symlink_to("nowhere/x")
    (tmp_path / "itself").symlink_to("itself")
    yield tmp_path
    names = ["file", "folder", "gone", "itself", "link"]
    assert sorted(os.listdir(tmp_path)) == names and not os.listdir(tmp_path / "folder")
    assert (tmp_path / "file").read_text() == "kept" and os.stat(tmp_path / "file").st_mtime == 1


@pytest.mark.parametrize("name", ["new", "file", "link", "folder/new", "caf\u00e9 .csv"])
def test_a_file_that_can_be_written(disk, name):
    check_output_file(disk / name)


@pytest.mark.parametrize("path", [os.devnull, "new.csv"])
def test_a_device_and_a_bare_name(disk, path, monkeypatch):
    monkeypatch.chdir(disk)
    check_output_file(path)


@pytest.mark.parametrize(
    "name, problem",
    [
        ("folder", "a folder; give the name of a file"),
        ("new/", "a folder; give the name of a file"),
        ("none/new", "does not exist; make it"),
        ("file/new", "is a file, no folder"),
        ("gone", "nowhere does not exist"),
        ("itself", "cannot be written (Too many levels"),
        ("n" * 300, "cannot be written (File name too long)"),
        ("/proc/new", "cannot be written"),  # whoever asks, root too
        ("", "a folder"),
    ],
)
def test_a_file_that_cannot_be_written(disk, name, problem):
    path = f"{disk}/{name}" if name and not name.startswith("/") else name
    with pytest.raises(ValueError) as caught:
        check_output_file(path)
    assert str(caught.value).startswith(f"{path}: ") and problem in str(caught.value)


@pytest.mark.parametrize("name", ["folder", "folder/", "new", "new/deep/er"])
def test_a_folder_that_can_be_written(disk, name):
    check_output_folder(f"{disk}/{name}")


@pytest.mark.parametrize(
    "name, problem",
    [
        ("file", "file is a file, no folder"),
        ("file/new", "cannot be written (Not a directory)"),
        ("gone", "a link that leads nowhere"),
        ("folder/" + "n" * 300, "cannot be written (File name too long)"),
        ("/proc/new/deep", "cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_written(disk, name, problem):
    path = name if name.startswith("/") else f"{disk}/{name}"
    with pytest.raises(ValueError) as caught:
        check_output_folder(path)
    assert str(caught.value).startswith(f"{path}: ") and problem in str(caught.value)


def test_no_permission(disk, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("model.output_path.tempfile.TemporaryFile", refuse)
    for check in (check_output_file, check_output_folder):
        with pytest.raises(ValueError, match=r"new: cannot be written \(Permission denied\)"):
            check(disk / "new")
