"""Captioned photos as people have them: a small reader for each format, recognised by looking.

A reader takes the folder and yields a `Found` for each photo that the captions name, whether the
photo is there or not. `FORMATS` lists them in the order in which they are tried.
"""

import csv
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.images import SUFFIXES

PHOTO_COLUMNS = ("image", "image_name", "image_file", "file_name", "filename", "file")
CAPTION_COLUMNS = (
    "captions caption texts text sentences sentence sentences_raw raw comments comment "
    "descriptions description"
).split()
NUMBERED = re.compile(r"(caption|text|sentence|comment|description)s?_?\d+")
SPLIT_NAMES = {
    "train": ("train", "training", "restval"),
    "dev": ("dev", "val", "valid", "validation"),
    "test": ("test", "testing"),
}
NO_CAPTIONS = {"readme", "license", "licence", "licenses", "licences", "notice"}  # .txt files
SAMPLE = 20  # names that are looked for when a folder of photos is sought


class DataError(ValueError):
    """A dataset that cannot be used; the message is one line that says what to do."""


@dataclass(frozen=True)
class Found:
    """A photo, its captions, and the split as the data says it (None where it says nothing)."""

    name: str
    path: Path
    captions: list[str]
    split: str | None = None


@dataclass(frozen=True)
class Format:
    """How a format is read.

    files: the files of a folder that hold its captions; none if the folder is in another format.
    looks_for: the same in words, for a message.
    """

    read: Callable[[Path], Iterable[Found]]
    files: Callable[[Path], list[Path]]
    looks_for: str


# --- Flickr8k and Flickr30k ----------------------------------------------------------------------


def flickr(folder: Path) -> Iterator[Found]:
    """`name.jpg#k<TAB>caption` a line; `*.{train,dev,test}Images.txt` beside it list the splits."""
    table = _token_files(folder)[0]
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_lines(table), 1):
        name, tab, caption = line.partition("\t")
        if not tab:
            raise DataError(f"{table}, line {number}: no tab between image and caption")
        captions[name.partition("#")[0]].append(caption)
    lists = split_lists(folder)
    split_names = {split: [x.strip() for x in _lines(file)] for split, file in lists.items()}
    split_names = split_names or {None: list(captions)}
    photos = photo_folder(folder, list(captions))
    for split, names in split_names.items():
        for name in dict.fromkeys(names):
            yield Found(name, photos / name, captions.get(name, []), split)


def split_lists(folder: Path) -> dict[str, Path]:
    """Flickr8k's lists of a split's photos, by split."""
    beside = _token_files(folder)[0].parent
    return {
        split: file
        for file in sorted(beside.glob("*Images.txt"))
        if (split := split_named(file.name.removesuffix("Images.txt").rpartition(".")[2]))
    }


def _token_files(folder: Path) -> list[Path]:
    # the corpus keeps its texts in a folder of their own, beside one of the photos
    found = [f for place in ("*.token", "*.token.txt") for f in folder.glob(place)]
    found = found or [f for place in ("*/*.token", "*/*.token.txt") for f in folder.glob(place)]
    return sorted(f for f in found if "lemma" not in f.name)  # Flickr8k's lemmas are no sentences


# --- tables, as on Kaggle ------------------------------------------------------------------------


def kaggle(folder: Path) -> Iterator[Found]:
    """A table with a column of photos and one of captions; in `train.csv`, of the train split."""
    for table in _tables(folder):
        rows, columns = _rows(table)
        photo = next((c for c in PHOTO_COLUMNS if c in columns), None)
        try:
            said = caption_columns(columns)
        except DataError:
            said = []
        if not photo or not said:
            raise DataError(
                f"{table}: the first line must name columns image and caption, "
                f"not {', '.join(columns)}"
            )
        rows = [row for row in rows if row[photo]]
        photos = photo_folder(folder, [row[photo] for row in rows])
        for row in rows:
            captions = [c for column in said for c in captions_in(row[column])]
            if not captions and "comment_number" in row:
                # one row of Flickr30k's results.csv lacks the bar between number and comment
                captions = [re.sub(r"^\d+\s*", "", row["comment_number"] or "")]
            yield Found(
                row[photo], photos / row[photo], captions, row.get("split") or _split_in(table.stem)
            )


def _tables(folder: Path) -> list[Path]:
    for name in ("captions.txt", "captions.csv", "results.csv"):
        if (folder / name).is_file():
            return [folder / name]
    return [
        file
        for file in sorted([*folder.glob("*.csv"), *folder.glob("*.tsv")])
        if file.name != "metadata.csv" and _has_photos_and_captions(file)
    ]


def _has_photos_and_captions(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        columns = [c.strip().lower() for c in re.split(r"[,;|\t]", lines.readline())]
    captions = any(c in CAPTION_COLUMNS or NUMBERED.fullmatch(c) for c in columns)
    return captions and any(c in PHOTO_COLUMNS for c in columns)


# --- the hub's imagefolder -----------------------------------------------------------------------


def imagefolder(folder: Path) -> Iterator[Found]:
    """Rows of `metadata.jsonl` or `metadata.csv`: `file_name`, beside the file, and `text`."""
    for file in _metadata(folder):
        rows, columns = _json_rows(file) if file.suffix == ".jsonl" else _rows(file)
        if "file_name" not in columns:
            raise DataError(f"{file}: has no file_name, only {', '.join(columns)}")
        try:
            said = caption_columns(columns)
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
        for row in rows:
            path = file.parent / str(row.get("file_name") or "no file_name")
            captions = [c for column in said for c in captions_in(row.get(column))]
            yield Found(_place(path, folder), path, captions, row.get("split"))


def _metadata(folder: Path) -> list[Path]:
    found = []
    for place in _folders(folder):
        files = [place / name for name in ("metadata.jsonl", "metadata.csv")]
        found += [file for file in files if file.is_file()][:1]
    return found


# --- JSON files ----------------------------------------------------------------------------------


def karpathy(folder: Path) -> Iterator[Found]:
    """Karpathy's `dataset_*.json`: photos with their split and sentences, maybe a `filepath`."""
    files = _karpathy_files(folder)
    if len(files) > 1:
        raise DataError(f"{folder}: {', '.join(f.name for f in files)}; keep one of them")
    with _json(files[0], "one of Karpathy's files") as content:
        images = content["images"]
        plain = [image["filename"] for image in images]
        below = [f"{image.get('filepath') or '.'}/{image['filename']}" for image in images]
        names = max(below, plain, key=lambda some: _hits(photo_folder(folder, some), some))
        photos = photo_folder(folder, names)
        for image, name in zip(images, names, strict=True):
            captions = [s.get("raw") or " ".join(s["tokens"]) for s in image["sentences"]]
            yield Found(Path(name).as_posix(), photos / name, captions, image.get("split"))


def _karpathy_files(folder: Path) -> list[Path]:
    others = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json"}  # the hub's
    found = [*folder.glob("dataset_*.json"), *folder.glob("dataset.json")]
    return sorted(file for file in found if file.name not in others)


def coco(folder: Path) -> Iterator[Found]:
    """COCO's captions: `annotations/captions_train2017.json` and so on, or files in the folder."""
    for file in _coco_files(folder):
        with _json(file, "captions in COCO's format") as content:
            captions: dict[Any, list[str]] = defaultdict(list)
            for annotation in content["annotations"]:
                captions[annotation["image_id"]].append(annotation["caption"])
            names = {image["id"]: image["file_name"] for image in content["images"]}
            names |= {image: f"image {image}" for image in captions if image not in names}
            photos = photo_folder(folder, list(names.values()))
            for image, name in names.items():
                path = photos / name
                said = captions_in(captions.get(image))
                yield Found(_place(path, folder), path, said, _split_in(file.stem))


def _coco_files(folder: Path) -> list[Path]:
    for place in (folder / "annotations", folder):
        if found := sorted(place.glob("captions*.json")):
            return found
    files = set(folder.glob("*.json")) - set(_karpathy_files(folder))
    # among other JSON files, such as COCO's boxes, those with captions
    return sorted(f for f in files if {b'"annotations"', b'"caption"'} <= _words_of(f))


def _words_of(file: Path) -> set[bytes]:
    return set(re.findall(rb'"annotations"|"caption"', file.read_bytes()))


# --- texts beside photos -------------------------------------------------------------------------


def textfiles(folder: Path) -> Iterator[Found]:
    """`photo.txt` beside `photo.jpg`, one caption a line."""
    photos = {path.with_suffix(""): path for path in _files(folder) if _is_photo(path)}
    for text in _texts(folder):
        path = photos.get(text.with_suffix(""), text.with_suffix(""))
        yield Found(_place(path, folder), path, list(_lines(text)))


def _texts(folder: Path) -> list[Path]:
    """The texts in folders in which a photo has one."""
    files = _files(folder)
    photos = {path.with_suffix("") for path in files if _is_photo(path)}
    texts = [file for file in files if file.suffix.lower() == ".txt"]
    places = {text.parent for text in texts if text.with_suffix("") in photos}
    return [t for t in texts if t.parent in places and t.stem.lower() not in NO_CAPTIONS]


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(x[0] == "." for x in p.relative_to(folder).parts))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


# --- the hub's own -------------------------------------------------------------------------------


def _saved_dataset(folder: Path) -> list[Path]:
    found = [folder / name for name in ("dataset_dict.json", "state.json")]
    found = [file for file in found if file.is_file()]
    return found or sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")])


FORMATS = {
    "flickr": Format(flickr, _token_files, "Flickr8k.token.txt"),
    "kaggle": Format(kaggle, _tables, "captions.txt"),
    "imagefolder": Format(imagefolder, _metadata, "metadata.jsonl"),
    "karpathy": Format(karpathy, _karpathy_files, "dataset_*.json"),
    # written as an imagefolder first, see `training.hub`
    "hub": Format(imagefolder, _saved_dataset, "a dataset of the hub"),
    "coco": Format(coco, _coco_files, "annotations/captions_*.json"),
    "textfiles": Format(textfiles, _texts, "photos with a .txt of the same name"),
}


def recognise(data: str | Path) -> str:
    """The name of the format that `data`, a folder or a hub id, is in. Raises DataError."""
    folder = Path(data)
    if folder.is_dir():
        for name, format in FORMATS.items():
            if format.files(folder):
                return name
    elif re.fullmatch(r"\w[\w.-]*/[\w.-]+(:[\w.-]+)?", str(data)) and not folder.exists():
        return "hub"
    problem = "" if folder.is_dir() else "not a folder: "
    sought = " nor ".join(format.looks_for for format in FORMATS.values())
    raise DataError(f"{data}: {problem}found neither {sought}; see training/README.md")


# --- what the readers share ----------------------------------------------------------------------


def split_named(name: Any) -> str | None:
    """Our name for a split that others call `name`; None if it is none."""
    known = (s for s, names in SPLIT_NAMES.items() if str(name).strip().lower() in names)
    return next(known, None)


def caption_columns(columns: Iterable[str]) -> list[str]:
    """Those that hold captions: one by its name, or several that are numbered. Raises DataError."""
    columns = list(columns)
    for name in CAPTION_COLUMNS:
        if found := [c for c in columns if c.lower() == name]:
            return found
    if found := [c for c in columns if NUMBERED.fullmatch(c.lower())]:
        return found
    raise DataError(f"no column of captions among {', '.join(columns)}; call it text or captions")


def captions_in(value: Any) -> list[str]:
    """A caption, several, or COCO's and Karpathy's records with the sentence under "raw"."""
    if isinstance(value, dict):
        value = value.get("raw")
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [caption for one in value for caption in captions_in(one)]
    return [str(value)]


def photo_folder(folder: Path, names: Sequence[str]) -> Path:
    """The folder that has the photos of these names: `folder`, or one up to two levels below."""
    return max(_folders(folder), key=lambda place: _hits(place, names))


def _hits(place: Path, names: Sequence[str]) -> int:
    return sum((place / name).is_file() for name in names[:: len(names) // SAMPLE + 1])


def _folders(folder: Path, depth: int = 2) -> list[Path]:
    found = [folder]
    if depth:
        with os.scandir(folder) as entries:  # which asks the disk once, however many photos
            below = sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")
        for name in below:
            found += _folders(folder / name, depth - 1)
    return found


def _place(path: Path, folder: Path) -> str:
    """Where a photo lies, as a name: from the folder, or in full if it lies elsewhere."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _split_in(stem: str) -> str | None:
    """The split that a file's name tells: captions_val2017, train."""
    return next(filter(None, map(split_named, re.split(r"[^a-zA-Z]+", stem))), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 ({error}); save it as UTF-8") from error


def _lines(path: Path) -> Iterator[str]:
    # not splitlines(), which also splits at characters that a caption may hold
    return (line for line in _text(path).split("\n") if line.strip())


def _rows(table: Path) -> tuple[list[dict[str, str | None]], list[str]]:
    """The rows of a table, and its columns in small letters."""
    text = _text(table)
    delimiter = max(",|;\t", key=text.partition("\n")[0].count)
    quoting = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        rows = [[cell.strip() for cell in row] for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from error
    missing = [None] * len(columns)
    return [dict(zip(columns, row + missing, strict=False)) for row in rows], columns


def _json_rows(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    rows = []
    for number, line in enumerate(_lines(file), 1):
        try:
            rows.append({**json.loads(line)})
        except (ValueError, TypeError) as error:
            raise DataError(f"{file}, line {number}: not a JSON object ({error})") from error
    return rows, list({column: None for row in rows for column in row})


@contextmanager
def _json(file: Path, kind: str) -> Iterator[Any]:
    """The content of a JSON file; what goes wrong with it is a DataError that names the file."""
    try:
        yield json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: broken JSON ({error}); download it again") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: not {kind} ({error!r})") from error
