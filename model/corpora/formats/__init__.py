"""Captioned photos as people have them: a reader for each format, recognised by looking.

Each module has `LOOKS_FOR` (in words, for a message), `find_files`, the files of a folder that hold
its captions (none if the folder is in another format), and `read`, which yields a `ListedPhoto` for
each photo that the captions name, whether the photo is there or not. A new format is a module
here and a line in `FORMATS`.
"""

import json
import re
from pathlib import Path

from model.checkpoint.hub import parse_hub_address
from model.corpora.formats import (
    coco,
    flickr,
    hub,
    imagefolder,
    kaggle,
    karpathy,
    records,
    textfiles,
)
from model.corpora.tables import read_columns
from model.errors import DataError

# in the order in which they are tried
FORMATS = {
    "flickr": flickr,
    "kaggle": kaggle,
    "imagefolder": imagefolder,
    "karpathy": karpathy,
    "hub": hub,
    "coco": coco,
    "json": records,
    "textfiles": textfiles,
}
HUB_ID = r"\w[\w.-]*/[\w.-]+(:[\w.-]+)?"
MOST_SHOWN = 3  # files whose columns a message lists


def recognise(data: str | Path) -> str:
    """The name of the format that `data` (a folder, a hub id or a hub address) is in.

    Raises DataError, which lists the columns that were seen.
    """
    folder = Path(data)
    if folder.is_dir():
        for name, format in FORMATS.items():
            if format.find_files(folder):
                return name
    elif not folder.exists():
        address = parse_hub_address(str(data))
        if address and address.kind != "datasets":
            raise DataError(f"{data}: a model or a Space of the hub, not a dataset")
        if address or re.fullmatch(HUB_ID, str(data)):
            return "hub"
    problem = "" if folder.is_dir() else "not a folder: "
    sought = " nor ".join(format.LOOKS_FOR for format in FORMATS.values())
    columns = "".join(_describe_columns(folder)) if folder.is_dir() else ""
    raise DataError(f"{data}: {problem}found neither {sought}{columns}; see docs/training.md")


def _describe_columns(folder: Path) -> list[str]:
    """What the tables and JSON files in a folder have instead of photos and captions."""
    columns = {file: read_columns(file) for file in kaggle.find_tables(folder)}
    columns |= {file: _read_json_names(file) for file in records.find_json_files(folder)}
    return [
        f"; {file.name} has {', '.join(names[:10]) or 'nothing in it'}, call them image and caption"
        for file, names in list(columns.items())[:MOST_SHOWN]
    ]


def _read_json_names(file: Path) -> list[str]:
    if names := records.read_names(file):
        return names
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return []
    return list(content) if isinstance(content, dict) else []
