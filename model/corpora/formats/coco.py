"""COCO's captions."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.corpora.formats import karpathy
from model.corpora.photos import ListedPhoto, find_photo_folder, name_photo
from model.corpora.splits import find_split
from model.corpora.text import read_json, report_wrong_shape
from model.corpora.values import read_captions, read_name

LOOKS_FOR = "annotations/captions_*.json"


def find_files(folder: Path) -> list[Path]:
    for below in (folder / "annotations", folder):
        if files := sorted(below.glob("captions*.json")):
            return [file for file in files if not _is_list(file)]
    lists = set(folder.glob("*.json")) - set(karpathy.find_files(folder))
    # among other JSON files, such as COCO's boxes, those with captions
    return sorted(f for f in lists if {b'"annotations"', b'"caption"'} <= _find_words(f))


def _is_list(file: Path) -> bool:
    """Whether a file is a plain list of records, which is another format."""
    with file.open("rb") as content:
        return content.read(100).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _find_words(file: Path) -> set[bytes]:
    return set(re.findall(rb'"annotations"|"caption"', file.read_bytes()))


def read(folder: Path) -> Iterator[ListedPhoto]:
    """COCO's captions: `annotations/captions_train2017.json` and so on, or files in the folder."""
    for file in find_files(folder):
        # ids are numbers in one list and text in the other where a program rewrote them
        captions: dict[str, list[Any]] = defaultdict(list)
        content = read_json(file)
        with report_wrong_shape(file, "captions in COCO's format"):
            for annotation in content["annotations"]:
                captions[str(annotation["image_id"])].append(annotation["caption"])
            names = {str(image["id"]): read_name(image["file_name"]) for image in content["images"]}
        names |= {image: f"image {image}" for image in captions if image not in names}
        photos = find_photo_folder(folder, list(names.values()))
        for image, name in names.items():
            path = photos / name
            texts = read_captions(captions.get(image), f"{file}, image {image}")
            yield ListedPhoto(name_photo(path, folder), path, texts, find_split(file.stem))
