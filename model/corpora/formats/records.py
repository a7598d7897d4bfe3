"""JSON lists and JSON lines of records, each with a photo and its captions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.corpora.formats import karpathy
from model.corpora.photos import ListedPhoto, find_photo_folder, name_photo
from model.corpora.splits import find_split, find_split_column
from model.corpora.text import read_json, read_json_lines, report_wrong_shape
from model.corpora.values import (
    CAPTION_COLUMNS,
    PHOTO_COLUMNS,
    find_caption_columns,
    find_photo_column,
    is_missing,
    read_captions,
)
from model.errors import DataError

LOOKS_FOR = "a JSON list of {image, caption}"
HEAD = 100_000  # bytes in which the first record's names are looked for
NAMES = re.compile(rb'"(\w+)"\s*:')


def find_files(folder: Path) -> list[Path]:
    files = set(find_json_files(folder)) - set(karpathy.find_files(folder))
    return sorted(file for file in files if _has_photos_and_captions(read_names(file)))


def find_json_files(folder: Path) -> list[Path]:
    """JSON and JSON lines in a folder that are not the hub's."""
    names = (*folder.glob("*.json"), *folder.glob("*.jsonl"))
    return sorted(n for n in names if n.name not in {"metadata.jsonl", *karpathy.HUB_FILES})


def read_names(file: Path) -> list[str]:
    """The names of values at the beginning of a list of records; none in a file of another kind."""
    with file.open("rb") as content:
        head = content.read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    begins = b"{" if file.suffix == ".jsonl" else b"["
    if not head.startswith(begins):
        return []
    return list(dict.fromkeys(name.decode(errors="replace") for name in NAMES.findall(head)))


def _has_photos_and_captions(names: list[str]) -> bool:
    lower = {name.lower() for name in names}
    return bool(lower & set(PHOTO_COLUMNS)) and bool(lower & set(CAPTION_COLUMNS))


def read(folder: Path) -> Iterator[ListedPhoto]:
    """`[{"image": ..., "caption": ...}, ...]`, or such a record a line; in `train.json`, of the
    train split."""
    for file in find_files(folder):
        records = list(_read_records(file))
        columns = list({name: None for _, record in records for name in record})
        photo_column = find_photo_column(columns)
        if not photo_column:
            raise DataError(f"{file}: no column of photos among {', '.join(columns)}")
        try:
            caption_columns = find_caption_columns(columns)
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
        split_column = find_split_column(columns, (record for _, record in records))
        names = []
        for where, record in records:
            if not record.get(photo_column):
                raise DataError(f"{where}: no photo under {photo_column}")
            names.append(str(record[photo_column]))
        photos = find_photo_folder(folder, names)
        for name, (where, record) in zip(names, records, strict=True):
            captions = [c for n in caption_columns for c in read_captions(record.get(n), where)]
            split = record.get(split_column) if split_column else None
            split = find_split(file.stem) if is_missing(split) else split
            yield ListedPhoto(name_photo(photos / name, folder), photos / name, captions, split)


def _read_records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record, with where it stands."""
    if file.suffix == ".jsonl":
        for number, record in read_json_lines(file):
            yield f"{file}, line {number}", record
        return
    content = read_json(file)
    with report_wrong_shape(file, "a list of records with image and caption"):
        records = [{**record} for record in content]
    for number, record in enumerate(records, 1):
        yield f"{file}, record {number}", record
