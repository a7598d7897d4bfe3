"""Where the photos of a dataset lie, and what to say of one that does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.files import walk_folders
from model.images import SUFFIXES

MAX_DEPTH = 2  # levels below a dataset's folder in which its photos are looked for
SAMPLE_SIZE = 20  # names that are looked for there


@dataclass(frozen=True)
class ListedPhoto:
    """A photo as the data lists it, its captions, and the split as the data calls it, if at all."""

    name: str
    path: Path
    captions: list[str]
    split: Any = None


def is_photo(path: Path) -> bool:
    """Whether a file is a photo by its suffix."""
    return path.suffix.lower() in SUFFIXES


def list_folders(folder: Path) -> list[Path]:
    """The folder and those below it, as deep as a dataset's own folders go."""
    return [below for below, _ in walk_folders(folder, MAX_DEPTH)]


def find_photo_folder(folder: Path, names: Sequence[str]) -> Path:
    """The folder that has the photos of these names: `folder`, or one up to two levels below."""
    return max(list_folders(folder), key=lambda below: count_photos(below, names))


def count_photos(folder: Path, names: Sequence[str]) -> int:
    """How many of a sample of the names are files in the folder."""
    return sum((folder / name).is_file() for name in names[:: len(names) // SAMPLE_SIZE + 1])


def name_photo(path: Path, folder: Path) -> str:
    """A photo's name: its path from the folder, or the whole path if it lies elsewhere."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
