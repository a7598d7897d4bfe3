"""The folder of visitors' files: what is deleted, and that nothing stops it."""

import logging
import os
import time

import pytest

from ui.uploads import folder as folder_module
from ui.uploads.folder import UploadFolder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return UploadFolder()


def write(folder, name, size=10):
    path = folder.path / name / "photo.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(size))
    return path


def hours_later(monkeypatch, hours):
    now = time.time()
    monkeypatch.setattr(folder_module.time, "time", lambda: now + 3600 * hours)


def test_it_is_of_this_page_alone_and_gone_at_its_end(folder, tmp_path):
    assert os.environ["GRADIO_TEMP_DIR"] == str(folder.path)
    assert folder.path.is_relative_to(tmp_path)
    other = tmp_path / "another programs.png"
    other.write_bytes(b"x")
    write(folder, "a")
    folder.remove()
    assert not folder.path.exists() and other.exists()


def test_files_are_deleted_after_an_hour(folder, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "captionlens")
    other = tmp_path / "another programs.png"
    other.write_bytes(b"x")
    left_behind = folder.path.parent / "of a page that was killed" / "photo.png"
    left_behind.parent.mkdir()
    left_behind.write_bytes(b"x")
    photo = write(folder, "a")
    folder.clean()
    assert photo.exists() and left_behind.exists()
    hours_later(monkeypatch, 1.1)
    folder.clean()
    assert not photo.parent.exists() and not left_behind.exists() and other.exists()
    assert caplog.messages == ["uploads: 2 files deleted: older than an hour"]


def test_the_oldest_make_room(folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "captionlens")
    folder._max_bytes = 100
    photos = []
    for name in "abcd":
        photos.append(write(folder, name, 30))
        time.sleep(0.02)  # the clock of the file system
    folder.clean()
    assert [photo.exists() for photo in photos] == [False, True, True, True]
    folder.clean(needed=50)
    assert [photo.exists() for photo in photos] == [False, False, False, True]
    assert caplog.messages[-1].startswith("uploads: 2 files deleted: the oldest, as all may have")


def test_what_cannot_be_deleted_does_not_keep_the_rest(folder, monkeypatch, caplog):
    stubborn, photo = write(folder, "a"), write(folder, "b")
    unlink = os.unlink

    def refuse(path):
        if path == str(stubborn):
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path)

    monkeypatch.setattr(folder_module.os, "unlink", refuse)
    hours_later(monkeypatch, 2)
    folder.clean()
    assert stubborn.exists() and not photo.exists()
    assert caplog.messages == ["uploads: some files cannot be deleted: Operation not permitted"]
    assert str(stubborn) not in caplog.text


def test_a_folder_that_cannot_be_written_is_one_line(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/dev/null/x")
    with pytest.raises(OSError, match="^/dev/null/x: photos cannot be kept there .*set GRADIO_"):
        UploadFolder()
