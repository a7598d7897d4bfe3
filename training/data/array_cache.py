"""Files for arrays that are computed from photos once and used by later runs."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from model.corpora.corpus import CaptionedImage


def fingerprint_photos(items: list[CaptionedImage], *parameters: object) -> str:
    """A name for what was computed from these photo files with these parameters."""
    digest = hashlib.sha256(repr(parameters).encode())
    for item in items:
        status = item.path.stat()
        digest.update(f"{item.path} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def create_unfinished_file(folder: Path) -> Path:
    """A new empty file, to be renamed once it is complete; each process gets its own."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".unfinished", dir=folder)
    os.close(handle)
    return Path(name)


def create_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped array file in half precision.

    Raises OSError if the disk has no room for all of it: writing to a file that turns out not to
    fit would kill the process.
    """
    array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def load_array(path: Path) -> np.ndarray:
    """A memory-mapped array. It can be written to, as torch requires; the file never changes."""
    return np.load(path, mmap_mode="c")
