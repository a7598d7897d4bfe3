"""Tables of photos and captions, as on Kaggle."""

import re
from collections.abc import Iterator
from pathlib import Path

from model.corpora.photos import ListedPhoto, find_photo_folder
from model.corpora.splits import find_split, find_split_column
from model.corpora.tables import Table, read_columns, read_table
from model.corpora.values import find_caption_columns, find_photo_column, read_captions
from model.errors import DataError

LOOKS_FOR = "captions.txt"


def find_files(folder: Path) -> list[Path]:
    for name in ("captions.txt", "captions.csv", "results.csv"):
        if (folder / name).is_file():
            return [folder / name]
    return [file for file in find_tables(folder) if _has_photos_and_captions(read_columns(file))]


def find_tables(folder: Path) -> list[Path]:
    """The tables in a folder that are not the hub's."""
    tables = [*folder.glob("*.[cC][sS][vV]"), *folder.glob("*.[tT][sS][vV]")]
    return sorted(file for file in tables if file.name != "metadata.csv" and file.is_file())


def _has_photos_and_captions(columns: list[str]) -> bool:
    try:
        return bool(find_photo_column(columns) and find_caption_columns(columns))
    except DataError:
        return False


def read(folder: Path) -> Iterator[ListedPhoto]:
    """A table with a column of photos and one of captions; in `train.csv`, of the train split."""
    for file in find_files(folder):
        table = read_table(file)
        if not table.columns:
            raise DataError(f"{file}: empty; its first line must name columns image and caption")
        if not _has_photos_and_captions(table.columns):
            raise DataError(
                f"{file}: the first line must name columns image and caption, "
                f"not {', '.join(table.columns)}"
            )
        yield from _read_rows(table, folder)


def _read_rows(table: Table, folder: Path) -> Iterator[ListedPhoto]:
    photo_column = find_photo_column(table.columns)
    assert photo_column  # as `read` has checked
    caption_columns = find_caption_columns(table.columns)
    split_column = find_split_column(table.columns, (row for _, row in table.rows))
    rows = [(line, row) for line, row in table.rows if any(row.values())]
    names = []
    for line, row in rows:
        if not (name := row[photo_column]):
            raise DataError(f"{table.locate(line)}: no photo in the column {photo_column}")
        names.append(name)
    photos = find_photo_folder(folder, names)
    for name, (line, row) in zip(names, rows, strict=True):
        where = table.locate(line)
        captions = [c for column in caption_columns for c in read_captions(row[column], where)]
        if all(row[column] is None for column in caption_columns):
            if not (comment := row.get("comment_number")):
                raise DataError(
                    f"{where}: ends before the column {caption_columns[0]}; add the caption, or "
                    "put one of several lines between quotation marks"
                )
            # one row of Flickr30k's results.csv lacks the bar between number and comment
            captions = [re.sub(r"^\d+\s*", "", comment)]
        split = (row[split_column] if split_column else None) or find_split(table.path.stem)
        yield ListedPhoto(name, photos / name, captions, split)
