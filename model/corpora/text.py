"""Text files as people save them, and JSON in them; what cannot be read is a DataError."""

import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.errors import DataError
from model.files import LFS_POINTER, is_lfs_pointer, suggest_similar

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # spreadsheets' "Unicode text"


def read_text(path: Path) -> str:
    """A file's text, in UTF-8 or marked as UTF-16, its line ends as `\\n`."""
    content = path.read_bytes()
    if is_lfs_pointer(content):
        raise DataError(f"{path}: {LFS_POINTER}")
    encoding = "utf-16" if content.startswith(UTF_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 ({error}); save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_file(name: str | Path) -> None:
    """Raise DataError for a file that is not there, and for a folder."""
    if Path(name).is_dir():
        raise DataError(f"{name}: a folder; give a file")
    if not Path(name).is_file():
        hint = suggest_similar(Path(name))
        raise DataError(f"{name}: no such file" + (f"; {hint}" if hint else ""))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number from 1."""
    # not splitlines(), which also splits at characters that a caption may hold
    lines = enumerate(read_text(path).split("\n"), 1)
    return ((number, line) for number, line in lines if line.strip())


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON lines file, each with the number of its line."""
    for number, line in read_lines(path):
        try:
            yield number, {**json.loads(line)}
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not a JSON object ({error})") from error


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON holds anything
    """The content of a JSON file."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: broken JSON ({error}); download it again") from error


@contextmanager
def report_wrong_shape(path: Path, kind: str) -> Iterator[None]:
    """Values that are not where `kind` has them, or not of its types, are a DataError.

    Only for taking values out of a file's content: a slip in anything else would be told as the
    file's fault.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: not {kind} ({error!r})") from error
