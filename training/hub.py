"""Datasets of the Hugging Face hub, written once as files: all else knows only paths."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.formats import DataError, caption_columns, captions_in, split_named


def as_imagefolder(data: str | Path, cache: str | Path) -> Path:
    """The dataset as a folder with `metadata.jsonl`, below `cache`; found there the next time.

    data: a hub id (`owner/name`, or `owner/name:configuration`), a folder that `save_to_disk`
        wrote, or one with parquet files.

    Photos keep their bytes and are named after them, so that a dataset with one caption a row
    has each photo once. Raises DataError for what cannot be loaded or has no photos or captions.
    """
    parts = _load(data)
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
                for record in _write(rows, split, whole, data):
                    metadata.write(json.dumps(record, ensure_ascii=False) + "\n")
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker
                raise
    return folder


def _load(data: str | Path) -> dict[str, Any]:
    """The splits of a dataset by their names."""
    try:
        import datasets  # takes seconds, and only this format needs it
    except ImportError as error:
        raise DataError(f"{data}: needs the package datasets; see requirements-dev.txt") from error
    saved = any(Path(data, name).is_file() for name in ("dataset_dict.json", "state.json"))
    name, _, configuration = (
        (str(data), "", "") if Path(data).exists() else str(data).partition(":")
    )
    try:
        if saved:
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # of any kind: from the network, the hub, or the files
        raise DataError(f"{data}: neither a folder nor a dataset that loads ({error})") from error
    return dict(loaded) if isinstance(loaded, dict) else {str(loaded.split or ""): loaded}


def _write(rows: Any, split: str, folder: Path, data: str | Path):
    """Write the photos of a split into `folder`; yields a record for `metadata.jsonl` a row."""
    import datasets

    photos = [
        name
        for name, feature in rows.features.items()
        if isinstance(feature, datasets.Image)
        or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys())
    ]
    columns = [name for name in rows.column_names if name not in photos]
    if not photos:
        raise DataError(f"{data}: no column of photos among {', '.join(columns)}")
    try:
        said = caption_columns(columns)
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    photo = photos[0]
    own = [name for name in ("split",) if name in columns]
    rows = rows.select_columns([photo, *said, *own])
    if isinstance(rows.features[photo], datasets.Image):
        rows = rows.cast_column(photo, datasets.Image(decode=False))
    for number, row in enumerate(tqdm(rows, f"writing photos {split}".strip())):
        # Flickr30k's dataset has one split on the hub, and a column with those of its captions
        row_split = split_named(row.get("split")) or split_named(split)
        name = _write_photo(row[photo] or {}, folder, row_split or "") or f"row {number}"
        captions = [caption for column in said for caption in captions_in(row[column])]
        yield {"file_name": name, "text": captions, "split": row_split}


def _write_photo(photo: dict[str, Any], folder: Path, below: str) -> str | None:
    """Where the photo was written, from `folder`; None if there is none."""
    data, path = photo.get("bytes"), Path(photo.get("path") or "")
    if data is None and path.is_file():
        data = path.read_bytes()
    if data is None:
        return None
    suffix = path.suffix or (".png" if data.startswith(b"\x89PNG") else ".jpg")
    name = Path(below, hashlib.sha256(data).hexdigest()[:20] + suffix)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return name.as_posix()
