"""A visitor's many files, zips included: read one photo at a time, nothing unpacked to disk."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gradio.data_classes import ListFiles
from PIL import Image

from model.errors import ImageError
from model.images import load_image
from ui.gradio_internals import get_upload_folder
from ui.uploads.limits import MAX_PHOTOS, check_size
from ui.uploads.zips import is_zip, open_zip, read_listing, read_member

FILE_GONE = "not here any more: files are kept for an hour; add it again"


class Upload(NamedTuple):
    """A file of the visitor's: our copy, and the name the visitor knows."""

    path: str
    name: str


@dataclass(frozen=True)
class Photo:
    """Something that should be a photo, not read yet."""

    name: str
    read_bytes: Callable[[], bytes]

    def load(self) -> Image.Image:
        """The photo; raises ImageError, in one line that begins with the name."""
        file = io.BytesIO(self.read_bytes())
        file.name = self.name  # what errors call it
        return load_image(file)


def read_uploads(payload: ListFiles | None) -> list[Upload]:
    """What a `gr.File` for several files received; its own preprocessing loses the names."""
    return [
        Upload(str(find_upload(file.path)), get_base_name(file.orig_name or file.path))
        for file in payload or ()
    ]


def find_upload(path: str) -> Path:
    """The path of a visitor's file. Raises ImageError for any other file: gradio lets through
    paths of the host's own where they do not look like its files."""
    try:
        resolved = Path(path).resolve()
        if resolved.is_relative_to(Path(get_upload_folder()).resolve()) and resolved.is_file():
            return resolved
    except (OSError, ValueError):  # what can be no path
        pass
    raise ImageError(FILE_GONE)


def get_base_name(name: str) -> str:
    """The last part of a path of any system, as one line of text."""
    return (_split_path(name) or ("photo",))[-1]


def _split_path(path: str) -> tuple[str, ...]:
    """The folders and the name in a path of any system, each as one line of text."""
    line = "".join(c if c.isprintable() else "?" for c in path)
    return tuple(part for part in re.split(r"[/\\]", line) if part not in ("", "."))


def count_photos(uploads: Sequence[Upload]) -> int:
    """How many photos there are, without reading them. Raises ImageError if too many."""
    number = sum(1 for _ in islice(_list_entries(uploads), MAX_PHOTOS + 1))
    if number > MAX_PHOTOS:
        raise ImageError(f"More than {MAX_PHOTOS} photos; give fewer at a time.")
    return number


def count_skipped(uploads: Sequence[Upload]) -> int:
    """How many files in the zips are no photos, which `list_photos` leaves out."""
    number = 0
    for upload in uploads:
        if is_zip(upload.name):
            try:
                with open_zip(upload.path, upload.name) as archive:
                    number += read_listing(archive, upload.name).skipped
            except ImageError:
                pass  # which is the row of this zip
    return number


def list_photos(uploads: Sequence[Upload]) -> Iterator[Photo]:
    """Each photo of the files and zips; it can be loaded until the next one is asked for. No two
    have the same name."""
    names = make_unique_names([entry.path for entry in _list_entries(uploads)])
    for name, entry in zip(names, _list_entries(uploads), strict=True):
        yield Photo(name, partial(entry.read_bytes, name))


def make_unique_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each path, the zip's first: its last part; where others have the same, its path in
    the zip; then with the zip's name; and at last with a number."""
    names = [path[-1] for path in paths]
    for longer in (["/".join(path[1:] or path) for path in paths], map("/".join, paths)):
        counts = Counter(map(_normalize, names))
        names = [
            path if counts[_normalize(name)] > 1 else name
            for name, path in zip(names, longer, strict=True)
        ]
    taken, seen = set(map(_normalize, names)), set()
    for i, name in enumerate(names):
        if _normalize(name) in seen:
            numbered = (f"{name} ({number})" for number in count_from(2))
            names[i] = next(n for n in numbered if _normalize(n) not in taken)
            taken.add(_normalize(names[i]))
        seen.add(_normalize(names[i]))
    return names


def _normalize(name: str) -> str:
    """What names have in common that look the same: é has two Unicode forms."""
    return unicodedata.normalize("NFC", name)


class _Entry(NamedTuple):
    """Something that should be a photo, with all the folders it is in, the zip first.

    `read_bytes` takes the name that errors call it by.
    """

    path: tuple[str, ...]
    read_bytes: Callable[[str], bytes]


def _list_entries(uploads: Sequence[Upload]) -> Iterator[_Entry]:
    """What `list_photos` gives, in its order; each can be read until the next is asked for."""
    for upload in uploads:
        if not is_zip(upload.name):
            yield _Entry((upload.name,), partial(_read_file, upload))
            continue
        try:
            with open_zip(upload.path, upload.name) as archive:
                for path, member in read_listing(archive, upload.name).members:
                    parts = (upload.name, *_split_path(path))
                    yield _Entry(parts, partial(read_member, archive, member, path))
        except ImageError as error:
            yield _Entry((upload.name,), partial(_raise, error))


def _raise(error: ImageError, name: str) -> bytes:
    raise error


def _read_file(upload: Upload, name: str) -> bytes:
    file = Path(upload.path)
    try:
        check_size(name, file.stat().st_size)
        return file.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: {FILE_GONE}") from None
