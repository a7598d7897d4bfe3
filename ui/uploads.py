"""A visitor's many files, zips included: read one photo at a time, nothing unpacked to disk."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gradio.data_classes import ListFiles
from gradio.utils import get_upload_folder
from PIL import Image

from model.images import ImageError, load_image

GONE = "not here any more: files are kept for an hour; add it again"
MAX_PHOTOS = 500
MEGABYTE = 2**20
MAX_PHOTO_BYTES = 20 * MEGABYTE
MAX_ZIP_BYTES = 1024 * MEGABYTE  # unpacked
MAX_LISTING_BYTES = MEGABYTE  # names of thousands of photos; Python would read a list of any length
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks others without a bound


class Upload(NamedTuple):
    """A file of the visitor's: our copy, and the name the visitor knows."""

    path: str
    name: str


@dataclass(frozen=True)
class Photo:
    """Something that should be a photo, not read yet."""

    name: str
    read: Callable[[], bytes]

    def load(self) -> Image.Image:
        """Raises ImageError, in one line that begins with the name."""
        file = io.BytesIO(self.read())
        file.name = self.name  # what errors call it
        return load_image(file)


def read_uploads(payload: ListFiles | None) -> list[Upload]:
    """What a `gr.File` for several files received; its own preprocessing loses the names."""
    return [
        Upload(str(our_copy(file.path)), base_name(file.orig_name or file.path))
        for file in payload or ()
    ]


def our_copy(path: str) -> Path:
    """Where a visitor's file is kept. Raises ImageError for any other place: gradio lets through
    paths of the host's own where they do not look like its files."""
    try:
        place = Path(path).resolve()
        if place.is_relative_to(Path(get_upload_folder()).resolve()) and place.is_file():
            return place
    except (OSError, ValueError):  # what can be no path
        pass
    raise ImageError(GONE)


def base_name(name: str) -> str:
    """The last part of a path of any system, as one line of text."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return "".join(c if c.isprintable() else "?" for c in last) or "photo"


def count(uploads: list[Upload]) -> int:
    """How many photos there are, without reading them. Raises ImageError if too many."""
    found = sum(1 for _ in islice(photos(uploads), MAX_PHOTOS + 1))
    if found > MAX_PHOTOS:
        raise ImageError(f"More than {MAX_PHOTOS} photos; give fewer at a time.")
    return found


def photos(uploads: list[Upload]) -> Iterator[Photo]:
    """Each photo of the files and zips; it can be loaded until the next one is asked for."""
    for upload in uploads:
        if not upload.name.lower().endswith(".zip"):
            yield Photo(upload.name, partial(_read_file, upload))
            continue
        try:
            with _open_zip(upload) as archive:
                for member in _members(archive, upload.name):
                    name = base_name(member.filename)
                    yield Photo(name, partial(_read_member, archive, member, name))
        except ImageError as error:
            yield Photo(upload.name, partial(_fail, error))


def _fail(error: ImageError) -> bytes:
    raise error


def _read_file(upload: Upload) -> bytes:
    file = Path(upload.path)
    try:
        check_size(upload.name, file.stat().st_size)
        return file.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{upload.name}: {GONE}") from None


def check_size(name: str, size: int) -> None:
    """Raises ImageError for a photo of more bytes than one may have."""
    if size > MAX_PHOTO_BYTES:
        limit = MAX_PHOTO_BYTES // MEGABYTE
        raise ImageError(f"{name}: larger than {limit} MB; give a smaller copy")


def _open_zip(upload: Upload) -> zipfile.ZipFile:
    try:
        with open(upload.path, "rb") as file:
            end = zipfile._EndRecData(file)  # nothing public tells how long the list is
        if end is None or end[zipfile._ECD_SIZE] <= MAX_LISTING_BYTES:
            return zipfile.ZipFile(upload.path)
    except Exception as error:  # a broken zip makes zipfile raise anything
        raise ImageError(f"{upload.name}: broken, or no zip; make it again") from error
    raise ImageError(f"{upload.name}: thousands of files in it; give fewer at a time")


def _members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """What may be photos. Raises ImageError for a zip that cannot be used as a whole."""
    members = [member for member in archive.infolist() if not _is_clutter(member.filename)]
    if not members:
        raise ImageError(f"{name}: no photos in it")
    if any(member.flag_bits & 1 for member in members):
        raise ImageError(f"{name}: locked with a password; make a zip without one")
    if sum(member.file_size for member in members) > MAX_ZIP_BYTES:
        limit = MAX_ZIP_BYTES // MEGABYTE
        raise ImageError(f"{name}: more than {limit:,} MB when unpacked; make several zips")
    return members


def _is_clutter(path: str) -> bool:
    """Folders, hidden files, and what a Mac adds to each zip."""
    parts = re.split(r"[/\\]", path)
    return not parts[-1] or any(
        part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    if re.match(r"[/\\]|[A-Za-z]:", member.filename) or ".." in re.split(r"[/\\]", member.filename):
        raise ImageError(f"{name}: its place is outside of the zip; make the zip again")
    if name.lower().endswith(".zip"):
        raise ImageError(f"{name}: a zip inside a zip; unpack it and add its photos")
    if member.compress_type not in PACKINGS:
        raise ImageError(f"{name}: packed in an unusual way; make an ordinary zip")
    check_size(name, member.file_size)
    try:
        with archive.open(member) as file:
            return file.read(member.file_size)  # a size can lie, but no more than this is unpacked
    except Exception as error:  # as above
        raise ImageError(f"{name}: broken in the zip; make the zip again") from error
