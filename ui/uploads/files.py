"""A visitor's many files, zips included: read one photo at a time, nothing unpacked to disk."""

import io
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from typing import NamedTuple

# Private, as nothing public tells how long a zip's list is; without them this does not start.
from zipfile import _ECD_SIZE, _EndRecData

from gradio.data_classes import ListFiles
from PIL import Image

from model.errors import ImageError
from model.images import FORMATS, PHOTO_FORMATS, load_image
from ui.gradio_internals import get_upload_folder
from ui.uploads.zip_names import read_names

FILE_GONE = "not here any more: files are kept for an hour; add it again"
MAX_PHOTOS = 500
MEGABYTE = 2**20
MAX_PHOTO_BYTES = 20 * MEGABYTE
MAX_ZIP_BYTES = 1024 * MEGABYTE  # unpacked
MAX_LISTING_BYTES = MEGABYTE  # names of thousands of photos; Python would read a list of any length
# What systems keep beside photos, unknown to those who zip a folder, in lower case
SYSTEM_FILES = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
IMAGE_SUFFIXES = {
    suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS
}
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks others without a bound


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
        if _is_zip(upload.name):
            try:
                with _open_zip(upload) as archive:
                    number += _read_listing(archive, upload.name).skipped
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
        if not _is_zip(upload.name):
            yield _Entry((upload.name,), partial(_read_file, upload))
            continue
        try:
            with _open_zip(upload) as archive:
                for path, member in _read_listing(archive, upload.name).members:
                    parts = (upload.name, *_split_path(path))
                    yield _Entry(parts, partial(_read_member, archive, member, path))
        except ImageError as error:
            yield _Entry((upload.name,), partial(_raise, error))


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _raise(error: ImageError, name: str) -> bytes:
    raise error


def _read_file(upload: Upload, name: str) -> bytes:
    file = Path(upload.path)
    try:
        check_size(name, file.stat().st_size)
        return file.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: {FILE_GONE}") from None


def check_size(name: str, size: int) -> None:
    """Raise ImageError for a photo of more bytes than one may have."""
    if size > MAX_PHOTO_BYTES:
        limit = MAX_PHOTO_BYTES // MEGABYTE
        raise ImageError(f"{name}: larger than {limit} MB; give a smaller copy")


def _open_zip(upload: Upload) -> zipfile.ZipFile:
    try:
        with open(upload.path, "rb") as file:
            end = _EndRecData(file)
        if end is None or end[_ECD_SIZE] <= MAX_LISTING_BYTES:
            return zipfile.ZipFile(upload.path)
    except Exception as error:  # a broken zip makes zipfile raise anything
        raise ImageError(f"{upload.name}: broken, or no zip; make it again") from error
    raise ImageError(f"{upload.name}: thousands of files in it; give fewer at a time")


class _Listing(NamedTuple):
    """What may be photos in a zip, with their paths, and how many other files there are."""

    members: list[tuple[str, zipfile.ZipInfo]]
    skipped: int


def _read_listing(archive: zipfile.ZipFile, name: str) -> _Listing:
    """List what is in a zip; raises ImageError for a zip that cannot be used as a whole."""
    listed = archive.infolist()
    files = [
        (path, member)
        for path, member in zip(read_names(listed), listed, strict=True)
        if not _is_system_file(path)
    ]
    if any(member.flag_bits & 1 for _, member in files):
        raise ImageError(f"{name}: locked with a password; make a zip without one")
    members = [(path, member) for path, member in files if _may_be_photo(archive, path, member)]
    if not members:
        others = f", but {len(files)} other files" if files else ""
        raise ImageError(f"{name}: no photos in it{others}; make a zip of photos")
    if sum(member.file_size for _, member in members) > MAX_ZIP_BYTES:
        limit = MAX_ZIP_BYTES // MEGABYTE
        raise ImageError(f"{name}: more than {limit:,} MB when unpacked; make several zips")
    return _Listing(members, len(files) - len(members))


def _is_system_file(path: str) -> bool:
    """Folders, hidden files, and what systems keep beside photos."""
    *folders, last = re.split(r"[/\\]", path)
    return not last or any(
        part.lower() in SYSTEM_FILES or (part.startswith(".") and part not in (".", ".."))
        for part in (*folders, last)
    )


def _may_be_photo(archive: zipfile.ZipFile, path: str, member: zipfile.ZipInfo) -> bool:
    """Whether its suffix or its first bytes are an image's. Zips count, which are refused by name:
    photos may be in them."""
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix == ".zip":
        return True
    if member.compress_type not in COMPRESSIONS:
        return False
    try:
        with archive.open(member) as file:
            head = file.read(16)
    except Exception:  # a broken zip makes zipfile raise anything
        return False
    return any(Image.OPEN[name][1](head) for name in PHOTO_FORMATS if name in FORMATS)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str, name: str) -> bytes:
    if re.match(r"[/\\]|[A-Za-z]:", path) or ".." in re.split(r"[/\\]", path):
        raise ImageError(f"{name}: its place is outside of the zip; make the zip again")
    if _is_zip(name):
        raise ImageError(f"{name}: a zip inside a zip; unpack it and add its photos")
    if member.compress_type not in COMPRESSIONS:
        raise ImageError(f"{name}: packed in an unusual way; make an ordinary zip")
    check_size(name, member.file_size)
    try:
        with archive.open(member) as file:
            return file.read(member.file_size)  # a size can lie, but no more than this is unpacked
    except Exception as error:  # as above
        raise ImageError(f"{name}: broken in the zip; make the zip again") from error
