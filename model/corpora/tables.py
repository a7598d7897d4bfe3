"""Tables with a heading (CSV, TSV) as people and programs write them, damage included.

`csv` alone reads a caption whose commas nobody quoted as its first part, and takes a quotation mark
that never closes for the beginning of a cell that swallows the rows after it. `csv.Sniffer` and
pandas do not notice either. Here a row is read on its own: as CSV, if it is whole; else with its
quotation marks as they are. What then does not fit the heading is an error that names the line.
"""

import csv
import io
import os.path
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from model.corpora.text import read_text
from model.corpora.values import find_photo_column
from model.errors import DataError
from model.images import SUFFIXES

DELIMITERS = ",|;\t"
MAX_CELL_LINES = 10  # more are rows that a quotation mark swallowed


@dataclass(frozen=True)
class Table:
    """A table's columns in small letters, and its rows with the number of the line each begins in.

    A cell that is not there is None. Columns of one name are numbered: caption_1, caption_2.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str | None]]] = field(default_factory=list)

    def locate(self, line: int) -> str:
        return f"{self.path}, line {line}"


def read_columns(path: Path) -> list[str]:
    """The names in a table's first line, in small letters; none in an empty file."""
    return _parse_heading(read_text(path).lstrip("\n").partition("\n")[0])[0]


def read_table(path: Path) -> Table:
    """Read a table. Raises DataError, which names the line, for one that does not fit its heading.

    Where the last column is of captions and has the delimiter in it, unquoted but followed by a
    space as in a sentence, the whole caption is kept.
    """
    text = read_text(path)
    start = len(text) - len(text.lstrip("\n"))  # blank lines above the heading
    first_line = text.count("\n", 0, start) + 1
    lines = text[start:].split("\n")
    columns, delimiter = _parse_heading(lines[0])
    table = Table(path, columns)
    if not columns:
        return table
    photo_column = find_photo_column(columns)
    reader = _RowReader(delimiter, len(columns), columns.index(photo_column) if photo_column else 0)
    spaced = f"{delimiter} " in lines[0]  # a space after each delimiter tells nothing then
    for number, cells in reader.read(lines, path, first_line):
        fitted = _fit_to_columns(cells, columns, delimiter, spaced, table.locate(number))
        table.rows.append((number, dict(zip(columns, fitted, strict=True))))
    return table


def _parse_heading(line: str) -> tuple[list[str], str]:
    delimiter = max(DELIMITERS, key=line.count)
    columns = [
        column.strip().lower() for column in next(csv.reader([line], delimiter=delimiter), [])
    ]
    while columns and not columns[-1]:  # a spreadsheet's empty columns
        columns.pop()
    counts, numbers = Counter(columns), Counter[str]()
    for index, name in enumerate(columns):
        if counts[name] > 1:
            numbers[name] += 1
            columns[index] = f"{name}_{numbers[name]}"
    return columns, delimiter


def _fit_to_columns(
    cells: list[str], columns: list[str], delimiter: str, spaced: bool, where: str
) -> list[str | None]:
    """A row's cells, as many as there are columns."""
    extra = cells[len(columns) :]
    last = cells[len(columns) - 1 : len(columns)]
    if any(cell.strip() for cell in extra):
        is_sentence = all(cell.startswith(" ") or not cell for cell in extra) and not spaced
        if not is_sentence or find_photo_column(columns[-1:]):
            raise DataError(
                f"{where}: {len(cells)} cells for {len(columns)} columns; put cells that have "
                f"{_describe_delimiter(delimiter)} in them between quotation marks"
            )
        last = [delimiter.join([*last, *extra])]
    fitted: list[str | None] = [cell.strip() for cell in [*cells[: len(columns) - 1], *last]]
    return fitted + [None] * (len(columns) - len(fitted))


def _describe_delimiter(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else f"{delimiter!r}"


class _RowReader:
    """Reads the lines of a table below its heading, a row at a time.

    num_columns, photo_column: how many there are, and the index of the one that names photos.
    """

    def __init__(self, delimiter: str, num_columns: int, photo_column: int):
        self.delimiter, self.num_columns = delimiter, num_columns
        self.photo_column = photo_column
        self.quotes = delimiter != "|"  # in tables with bars (Flickr30k's), a mark is a letter

    def read(
        self, lines: list[str], path: Path, first_line: int
    ) -> Iterator[tuple[int, list[str]]]:
        """(number of the line, cells) of each row; the first of `lines` is the heading."""
        index = 1
        while index < len(lines):
            if not lines[index].strip():
                index += 1
                continue
            cells, count = self._parse_row(lines, index)
            if max(map(len, cells)) > csv.field_size_limit():
                raise DataError(f"{path}, line {first_line + index}: field larger than any caption")
            yield first_line + index, cells
            index += count

    def _parse_row(self, lines: list[str], index: int) -> tuple[list[str], int]:
        """A row's cells and how many lines it has."""
        literal = lines[index].split(self.delimiter)  # with quotation marks as they are
        if not self.quotes or '"' not in lines[index]:
            return literal, 1
        for count in range(1, MAX_CELL_LINES + 1):
            row = lines[index : index + count]
            if len(row) < count or (count > 1 and self._begins_row(row[-1], literal)):
                break
            try:
                # strict: text after a closing mark, and a cell that never ends, are errors
                text = io.StringIO("\n".join(row), newline="")
                cells = next(csv.reader(text, delimiter=self.delimiter, strict=True))
            except csv.Error as error:
                if "unexpected end" in str(error):
                    continue
                break
            before = self.num_columns - 1
            if len(cells) > self.num_columns and cells[:before] == literal[:before]:
                break  # a sentence that begins with a quotation
            return cells, count
        return literal, 1

    def _begins_row(self, line: str, first_cells: list[str]) -> bool:
        """Whether a line inside a cell looks like the next row: a photo's name is in its place."""
        cells = line.split(self.delimiter)
        if min(len(cells), len(first_cells)) <= max(self.photo_column, 1):
            return False  # also where the photo follows a caption of several lines
        name, first_name = (row[self.photo_column].strip(' "') for row in (cells, first_cells))
        if os.path.splitext(first_name)[1].lower() in SUFFIXES:
            return os.path.splitext(name)[1].lower() in SUFFIXES
        return bool(name) and not any(map(str.isspace, name))
