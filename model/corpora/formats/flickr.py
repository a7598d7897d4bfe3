"""Flickr8k's and Flickr30k's own files."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from model.corpora.photos import ListedPhoto, find_photo_folder
from model.corpora.splits import find_split
from model.corpora.text import read_lines
from model.corpora.values import read_captions
from model.errors import DataError

LOOKS_FOR = "Flickr8k.token.txt"


def find_files(folder: Path) -> list[Path]:
    # the corpus keeps its texts in a folder of their own, beside one of the photos
    for patterns in (("*.token", "*.token.txt"), ("*/*.token", "*/*.token.txt")):
        files = [file for pattern in patterns for file in folder.glob(pattern)]
        files = [file for file in files if "lemma" not in file.name]  # lemmas are no sentences
        if files:
            return sorted(files)
    return []


def read(folder: Path) -> Iterator[ListedPhoto]:
    """`name.jpg#k<TAB>caption` a line; `*.{train,dev,test}Images.txt` beside it list the splits."""
    captions = read_token_file(find_files(folder)[0])
    names_by_split: dict[str | None, list[str]] = {
        split: [line.strip() for _, line in read_lines(file)]
        for split, file in find_split_lists(folder).items()
    }
    photos = find_photo_folder(folder, list(captions))
    for split, names in (names_by_split or {None: list(captions)}).items():
        for name in dict.fromkeys(names):
            yield ListedPhoto(name, photos / name, captions.get(name, []), split)


def read_token_file(table: Path) -> dict[str, list[str]]:
    """The captions of each photo, by its name; raises DataError for a file of something else."""
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in read_lines(table):
        name, tab, caption = line.partition("\t")
        if not tab:
            raise DataError(f"{table}, line {number}: no tab between image and caption")
        texts = read_captions(caption, f"{table}, line {number}")
        captions[re.sub(r"#[^#]*$", "", name)] += texts
    return captions


def find_split_lists(folder: Path) -> dict[str, Path]:
    """Flickr8k's lists of a split's photos, by split."""
    return {
        split: file
        for file in sorted(find_files(folder)[0].parent.glob("*Images.txt"))
        if (split := find_split(file.name.removesuffix("Images.txt").rpartition(".")[2]))
    }
