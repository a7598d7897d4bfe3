"""Texts beside photos."""

from collections.abc import Iterator
from pathlib import Path

from model.corpora.photos import ListedPhoto, is_photo, name_photo
from model.corpora.text import read_lines
from model.corpora.values import read_captions
from model.files import walk_files

LOOKS_FOR = "photos with a .txt of the same name"
SUFFIXES = (".txt", ".caption")
NO_CAPTIONS = {"readme", "license", "licence", "licenses", "licences", "notice"}


def find_files(folder: Path) -> list[Path]:
    """The texts in folders in which a photo has one."""
    return _find_texts(list(walk_files(folder)))


def _find_texts(files: list[Path]) -> list[Path]:
    photos = _find_photos(files)
    texts = [file for file in files if file.suffix.lower() in SUFFIXES]
    folders = {text.parent for text in texts if text.with_suffix("") in photos}
    return [t for t in texts if t.parent in folders and t.stem.lower() not in NO_CAPTIONS]


def _find_photos(files: list[Path]) -> dict[Path, Path]:
    """The photos by the names of their texts without the suffix: `photo.jpg` and `photo`."""
    photos = [path for path in files if is_photo(path)]
    return {stem: path for path in photos for stem in (path, path.with_suffix(""))}


def read(folder: Path) -> Iterator[ListedPhoto]:
    """`photo.txt`, `photo.caption` or `photo.jpg.txt` beside `photo.jpg`, one caption a line."""
    files = list(walk_files(folder))
    photos = _find_photos(files)
    for text in _find_texts(files):
        path = photos.get(text.with_suffix(""), text.with_suffix(""))
        captions = [
            caption
            for number, line in read_lines(text)
            for caption in read_captions(line, f"{text}, line {number}")
        ]
        yield ListedPhoto(name_photo(path, folder), path, captions)
