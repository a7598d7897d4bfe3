"""The folder with visitors' files: they are kept for an hour, and never more of them than fit."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from ui.gradio_internals import get_upload_folder, set_upload_folder
from ui.uploads.limits import MEGABYTE

MAX_AGE = 3600.0  # seconds
MAX_BYTES = 4096 * MEGABYTE
MAX_SHARE_OF_DISK = 0.5  # of what is free when the page starts
log = logging.getLogger("captionlens")


class _File(NamedTuple):
    """A visitor's file; `written` is in seconds since the epoch."""

    written: float
    size: int
    path: str


class UploadFolder:
    """A folder of this page alone, which is gradio's from then on, until the page ends.

    It is inside of one that all pages of this host share: each page also deletes what is old there,
    left by one that was killed.

    Raises OSError, in one line, if photos cannot be kept there.
    """

    def __init__(self):
        shared = Path(get_upload_folder()) / "captionlens"
        try:
            shared.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(dir=shared))
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            raise OSError(
                f"{shared.parent}: photos cannot be kept there while they are captioned "
                f"({error.strerror}); set GRADIO_TEMP_DIR to a folder that can be written"
            ) from error
        self._max_bytes = min(MAX_BYTES, int(MAX_SHARE_OF_DISK * free))
        self._lock = Lock()
        set_upload_folder(self.path)

    def clean(self, needed: int = 0) -> None:
        """Delete what is old, and the oldest files while there is no room for `needed` bytes more.

        What cannot be deleted is counted in the log, and does not keep the rest.
        """
        with self._lock:
            now = time.time()
            old = [file for file in _list_files(self.path.parent) if now - file.written > MAX_AGE]
            _delete(old, "older than an hour")
            files = sorted(_list_files(self.path))
            excess = sum(file.size for file in files) + needed - self._max_bytes
            surplus = []
            for file in files:
                if excess <= 0:
                    break
                surplus.append(file)
                excess -= file.size
            _delete(surplus, f"the oldest, as all may have {self._max_bytes // MEGABYTE:,} MB")

    def remove(self) -> None:
        """Delete all that is in it, and the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def _list_files(folder: Path) -> Iterator[_File]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                about = os.lstat(path)
            except OSError:  # gone, or none of ours
                continue
            yield _File(about.st_ctime, about.st_size, path)


def _delete(files: list[_File], reason: str) -> None:
    deleted, problems = 0, set()
    for file in files:
        try:
            os.unlink(file.path)
            deleted += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.add(error.strerror)
            continue
        try:
            os.rmdir(os.path.dirname(file.path))  # gradio gives each file a folder
        except OSError:
            pass  # something else is in it
    if deleted:
        log.info("uploads: %d files deleted: %s", deleted, reason)
    if problems:
        log.error("uploads: some files cannot be deleted: %s", "; ".join(sorted(problems)))
