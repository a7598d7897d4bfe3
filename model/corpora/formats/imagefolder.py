"""The hub's imagefolder: photos with a metadata file in their folder or above it."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.corpora.photos import ListedPhoto, list_folders, name_photo
from model.corpora.splits import find_split_column
from model.corpora.tables import read_table
from model.corpora.text import read_json_lines
from model.corpora.values import find_caption_columns, find_photo_column, read_captions
from model.errors import DataError

LOOKS_FOR = "metadata.jsonl"


def find_files(folder: Path) -> list[Path]:
    files = []
    for below in list_folders(folder):
        metadata = [below / name for name in ("metadata.jsonl", "metadata.csv")]
        files += [file for file in metadata if file.is_file()][:1]
    return files


def read(folder: Path) -> Iterator[ListedPhoto]:
    """Rows of `metadata.jsonl` or `metadata.csv`: `file_name`, from the file's folder, and `text`.

    A caption that files in two folders give the same photo counts once.
    """
    files = find_files(folder)
    captions_before: dict[Path, set[str]] = defaultdict(set)
    is_empty = True
    for file in files:
        captions_here: dict[Path, set[str]] = defaultdict(set)
        for path, captions, split in _read_file(file):
            is_empty = False
            captions_here[path].update(captions)
            new = [caption for caption in captions if caption not in captions_before[path]]
            yield ListedPhoto(name_photo(path, folder), path, new, split)
        for path, texts in captions_here.items():
            captions_before[path] |= texts
    if is_empty:
        raise DataError(
            f"{files[0]}: empty; give it a line for each photo, with file_name and text"
        )


def _read_file(file: Path) -> Iterator[tuple[Path, list[str], Any]]:
    """The photo, captions and split of each row."""
    rows: list[tuple[int, dict[str, Any]]]
    if file.suffix == ".jsonl":
        rows = list(read_json_lines(file))
        columns = list({column: None for _, row in rows for column in row})
    else:
        table = read_table(file)
        rows, columns = table.rows, table.columns
    if not rows:
        return
    photo_column = find_photo_column(columns)
    if not photo_column:
        raise DataError(f"{file}: has no file_name, only {', '.join(columns)}")
    try:
        caption_columns = find_caption_columns(columns)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    split_column = find_split_column(columns, (row for _, row in rows))
    for number, row in rows:
        where = f"{file}, line {number}"
        captions = [c for name in caption_columns for c in read_captions(row.get(name), where)]
        photo = str(row.get(photo_column) or "no file_name")
        yield file.parent / photo, captions, row.get(split_column) if split_column else None
