"""Datasets of the Hugging Face hub, written once as files: all else knows only paths."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from model.checkpoint.hub import parse_hub_address
from model.corpora.formats import imagefolder
from model.corpora.photos import ListedPhoto
from model.corpora.splits import find_split, find_split_column
from model.corpora.values import (
    find_caption_columns,
    find_photo_column,
    is_missing,
    read_captions,
)
from model.errors import DataError
from model.files import LFS_POINTER, is_lfs_pointer_file

if TYPE_CHECKING:
    from datasets import Dataset

LOOKS_FOR = "a dataset of the hub"


def find_files(folder: Path) -> list[Path]:
    saved = [folder / name for name in ("dataset_dict.json", "state.json")]
    saved = [file for file in saved if file.is_file()]
    return saved or sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")])


def read(data: str | Path, cache: str | Path) -> Iterator[ListedPhoto]:
    """The photos of a dataset, once they are written below `cache`: see `write_imagefolder`."""
    return imagefolder.read(write_imagefolder(data, cache))


def write_imagefolder(data: str | Path, cache: str | Path) -> Path:
    """The dataset as a folder with `metadata.jsonl`, below `cache`; found there the next time.

    data: a hub id (`owner/name`, or `owner/name:configuration`), the address of its page, a folder
        that `save_to_disk` wrote, or one with parquet files.

    Photos keep their bytes and are named after them, so that a dataset with one caption a row
    has each photo once. Raises DataError for what cannot be loaded or has no photos or captions.
    """
    parts = _load_splits(data)
    digest = hashlib.sha256()
    for split, rows in parts.items():
        digest.update(f"{split} {rows._fingerprint} ".encode())
    folder = Path(cache, f"photos-{digest.hexdigest()[:16]}")
    if folder.is_dir():
        return folder
    Path(cache).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as unfinished:
        whole = Path(unfinished, "photos")
        whole.mkdir()
        with open(whole / "metadata.jsonl", "w", encoding="utf-8") as metadata:
            for split, rows in parts.items():
                for record in _write_split(rows, split, whole, data):
                    metadata.write(json.dumps(record, ensure_ascii=False) + "\n")
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker
                raise
    return folder


def _load_splits(data: str | Path) -> "dict[str, Dataset]":
    """The splits of a dataset by their names."""
    try:
        import datasets  # takes seconds, and only this format needs it
    except ImportError as error:
        raise DataError(f"{data}: needs the package datasets; see requirements-dev.txt") from error
    folder = Path(data)
    is_folder = folder.exists()
    for file in find_files(folder) if is_folder else ():
        if is_lfs_pointer_file(file):
            raise DataError(f"{file}: {LFS_POINTER}")
    name, _, configuration = (str(data), "", "") if is_folder else str(data).partition(":")
    revision = None
    if not is_folder and (address := parse_hub_address(str(data))):
        name, configuration, revision = address.id, "", address.revision
    try:
        if any((folder / saved).is_file() for saved in ("dataset_dict.json", "state.json")):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name, configuration or None, revision=revision)
    except Exception as error:  # of any kind: from the network, the hub, or the files
        raise DataError(f"{data}: neither a folder nor a dataset that loads ({error})") from error
    parts = dict(loaded) if isinstance(loaded, dict) else {str(loaded.split or ""): loaded}
    # the only split holds nothing out, whatever it is called
    return (
        {s if find_split(s) else "": rows for s, rows in parts.items()}
        if len(parts) == 1
        else parts
    )


def _write_split(
    rows: "Dataset", split: str, folder: Path, data: str | Path
) -> Iterator[dict[str, Any]]:
    """Write the photos of a split into `folder`; yields a record for `metadata.jsonl` a row."""
    import datasets

    photo_columns = [
        name
        for name, feature in rows.features.items()
        if isinstance(feature, datasets.Image)
        or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys())
    ]
    columns = [name for name in rows.column_names if name not in photo_columns]
    photo = photo_columns[0] if photo_columns else find_photo_column(columns)
    if not photo:
        raise DataError(f"{data}: no column of photos among {', '.join(columns)}")
    try:
        caption_columns = find_caption_columns(name for name in columns if name != photo)
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    # Flickr30k's dataset has one split on the hub, and a column with those of its captions
    split_column = find_split_column(columns, rows.select_columns(columns) if columns else ())
    more = [split_column] if split_column else []
    rows = rows.select_columns([photo, *caption_columns, *more])
    if isinstance(rows.features[photo], datasets.Image):
        rows = rows.cast_column(photo, datasets.Image(decode=False))
    for number, row in enumerate(tqdm(rows, f"writing photos {split}".strip())):
        row_split = row[split_column] if split_column else None
        row_split = split or None if is_missing(row_split) else row_split
        content, path = _read_photo(row[photo], Path(data))
        name = f"row {number}" if path is None else path.as_posix()
        if content is not None:
            name = _write_photo(content, path, folder, str(row_split or ""))
        where = f"{data}, row {number}"
        captions = [c for column in caption_columns for c in read_captions(row[column], where)]
        yield {"file_name": name, "text": captions, "split": row_split}


def _read_photo(photo: dict[str, Any] | str | None, data: Path) -> tuple[bytes | None, Path | None]:
    """A photo's bytes, None where it is lost, and its path. A path is from the dataset's folder."""
    if not photo:
        return None, None
    photo = {"path": photo} if isinstance(photo, str) else photo
    path = Path(photo["path"]) if photo.get("path") else None
    if photo.get("bytes") is not None or path is None:
        return photo.get("bytes"), path
    folders = (
        [Path(), data, *(file.parent for file in find_files(data))] if data.is_dir() else [Path()]
    )
    for below in folders:
        if (below / path).is_file():
            return (below / path).read_bytes(), path
    return None, path


def _write_photo(content: bytes, path: Path | None, folder: Path, below: str) -> str:
    """Where the photo was written, from `folder`."""
    suffix = path.suffix if path and path.suffix else None
    suffix = suffix or (".png" if content.startswith(b"\x89PNG") else ".jpg")
    below = "".join(c if c.isalnum() else "-" for c in below)
    name = Path(below, hashlib.sha256(content).hexdigest()[:20] + suffix)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return name.as_posix()
