"""Captions as tables and JSON hold them: text, lists, lists written out as text, null, NaN."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterable
from typing import Any

from model.errors import DataError

PHOTO_COLUMNS = (
    "image file_name filename image_name image_file image_file_name image_path file_path filepath "
    "file path img photo picture name image_id"
).split()
CAPTION_COLUMNS = (
    "captions caption texts text sentences sentence sentences_raw raw comments comment "
    "descriptions description"
).split()
NUMBERED = re.compile(r"(caption|text|sentence|comment|description)s?_?\d+")
RECORD_KEYS = ("raw", "caption", "text", "sentence")  # of a caption that is a record
# what pandas and spreadsheets write for a value that is not there
MISSING = {"", "nan", "null", "none", "n/a", "#n/a", "<na>"}


def is_missing(value: object) -> bool:
    """Whether a value stands for none: null, NaN, blank text, or text that pandas writes for it."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or value != value  # NaN alone differs from itself


def find_photo_column(columns: Iterable[str]) -> str | None:
    """The column that names the photos, if there is one."""
    by_name = {column.lower(): column for column in columns}
    return next((by_name[name] for name in PHOTO_COLUMNS if name in by_name), None)


def find_caption_columns(columns: Iterable[str]) -> list[str]:
    """Those that hold captions: one by its name, with numbered ones beside it, or numbered ones
    alone. Raises DataError if there are none."""
    columns = list(columns)
    numbered = [c for c in columns if NUMBERED.fullmatch(c.lower())]
    for name in CAPTION_COLUMNS:
        if named := [c for c in columns if c.lower() == name]:
            stem = name.rstrip("s")
            return named + [c for c in numbered if re.sub(r"s?_?\d+$", "", c.lower()) == stem]
    if numbered:
        return numbered
    raise DataError(f"no column of captions among {', '.join(columns)}; call it text or captions")


def read_name(value: object) -> str:
    """A photo's name; raises TypeError for what is no text."""
    if not isinstance(value, str):
        raise TypeError(f"{_quote(value)} stands for a photo's name")
    return value


def read_captions(value: object, where: str) -> list[str]:
    """The captions that a value holds, none where it stands for a missing one.

    value: text, a list of values, either written out in text (JSON, Python's or NumPy's), COCO's
        and Karpathy's records with the sentence under "raw", null or NaN.
    where: file and line, for the message.

    Raises DataError for what is no text, such as a number.
    """
    if isinstance(value, str):
        values = _parse_list(value)
        if values is None:
            return [] if is_missing(value) and value.strip() else [value]
        value = values
    if isinstance(value, dict):
        keys = [key for key in RECORD_KEYS if key in value]
        if not keys:
            raise DataError(f"{where}: {_quote(value)} has no caption; name it {RECORD_KEYS[1]}")
        value = value[keys[0]]
        return read_captions(value, where)
    if isinstance(value, list | tuple):
        return [caption for part in value for caption in read_captions(part, where)]
    if not is_missing(value):
        raise DataError(
            f"{where}: {_quote(value)} stands for a caption; give text, or leave it empty"
        )
    return []


def _quote(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"{text[:57]}..."


def _parse_list(text: str) -> list[Any] | None:
    """The values of a list that is written out as JSON, or as Python or NumPy print it; None if
    the text is no list."""
    text = text.strip()
    if not re.fullmatch(r"""\[.*\]|\(\s*["'].*\)""", text, re.DOTALL):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    # by its tokens: where NumPy prints no commas, Python would join the texts
    values: list[Any] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING:
                values.append(ast.literal_eval(token.string))
            elif token.type == tokenize.NAME and is_missing(token.string):
                values.append(None)
            elif token.type == tokenize.OP and token.string in "[](),":
                continue
            elif token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER):
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return values
