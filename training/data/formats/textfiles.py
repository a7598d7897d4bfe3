"""Texts beside photos."""

from collections.abc import Iterator
from pathlib import Path

from model.files import walk_files
from training.data.photos import ListedPhoto, is_photo, name_photo
from training.data.text import read_lines
from training.data.values import read_captions

LOOKS_FOR = "photos with a .txt of the same name"
SUFFIXES = (".txt", ".caption")
NO_CAPTIONS = {"readme", "license", "licence", "licenses", "licences", "notice"}


def find_files(folder: Path) -> list[Path]:
    """The texts in folders in which a photo has one."""
    files = list(walk_files(folder))
    photos = {stem for path in files if is_photo(path) for stem in (path, path.with_suffix(""))}
    texts = [file for file in files if file.suffix.lower() in SUFFIXES]
    folders = {text.parent for text in texts if text.with_suffix("") in photos}
    return [t for t in texts if t.parent in folders and t.stem.lower() not in NO_CAPTIONS]


def read(folder: Path) -> Iterator[ListedPhoto]:
    """`photo.txt`, `photo.caption` or `photo.jpg.txt` beside `photo.jpg`, one caption a line."""
    photos = {}
    for path in walk_files(folder):
        if is_photo(path):
            photos |= {path: path, path.with_suffix(""): path}
    for text in find_files(folder):
        path = photos.get(text.with_suffix(""), text.with_suffix(""))
        captions = [
            caption
            for number, line in read_lines(text)
            for caption in read_captions(line, f"{text}, line {number}")
        ]
        yield ListedPhoto(name_photo(path, folder), path, captions)
