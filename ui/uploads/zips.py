"""Zips of photos: what is in them is found and read one photo at a time, and weighed before."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

# Private, as nothing public tells how long a zip's list is; without them this does not start.
from zipfile import _ECD_SIZE, _EndRecData

from PIL import Image

from model.errors import ImageError
from model.images import FORMATS, PHOTO_FORMATS
from ui.uploads.limits import MEGABYTE, check_size
from ui.uploads.zip_names import read_names

MAX_ZIP_BYTES = 1024 * MEGABYTE  # unpacked
MAX_LISTING_BYTES = MEGABYTE  # names of thousands of photos; Python would read a list of any length
# What systems keep beside photos, unknown to those who zip a folder, in lower case
SYSTEM_FILES = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
IMAGE_SUFFIXES = {
    suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS
}
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks others without a bound


def is_zip(name: str) -> bool:
    """Whether a file is one, by its name."""
    return name.lower().endswith(".zip")


def open_zip(path: str, name: str) -> zipfile.ZipFile:
    """The zip at a path; raises ImageError, by the visitor's name of it, for one of no use."""
    try:
        with open(path, "rb") as file:
            end = _EndRecData(file)
        if end is None or end[_ECD_SIZE] <= MAX_LISTING_BYTES:
            return zipfile.ZipFile(path)
    except Exception as error:  # a broken zip makes zipfile raise anything
        raise ImageError(f"{name}: broken, or no zip; make it again") from error
    raise ImageError(f"{name}: thousands of files in it; give fewer at a time")


Members = list[tuple[str, zipfile.ZipInfo]]


class Listing(NamedTuple):
    """What may be photos in a zip, with their paths, and how many other files there are."""

    members: Members
    skipped: int


def list_files(archive: zipfile.ZipFile, name: str) -> Members:
    """The files in a zip with their paths, without those that systems add; raises ImageError for a
    zip with a password."""
    listed = archive.infolist()
    files = [
        (path, member)
        for path, member in zip(read_names(listed), listed, strict=True)
        if not _is_system_file(path)
    ]
    if any(member.flag_bits & 1 for _, member in files):
        raise ImageError(f"{name}: locked with a password; make a zip without one")
    return files


def read_listing(archive: zipfile.ZipFile, name: str) -> Listing:
    """List what is in a zip; raises ImageError for a zip that cannot be used as a whole."""
    files = list_files(archive, name)
    members = [(path, member) for path, member in files if _may_be_photo(archive, path, member)]
    if not members:
        others = f", but {len(files)} other files" if files else ""
        raise ImageError(f"{name}: no photos in it{others}; make a zip of photos")
    if sum(member.file_size for _, member in members) > MAX_ZIP_BYTES:
        limit = MAX_ZIP_BYTES // MEGABYTE
        raise ImageError(f"{name}: more than {limit:,} MB when unpacked; make several zips")
    return Listing(members, len(files) - len(members))


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


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str, name: str) -> bytes:
    """A file of a zip, which stands there at `path`; raises ImageError, which calls it `name`."""
    if re.match(r"[/\\]|[A-Za-z]:", path) or ".." in re.split(r"[/\\]", path):
        raise ImageError(f"{name}: its place is outside of the zip; make the zip again")
    if is_zip(name):
        raise ImageError(f"{name}: a zip inside a zip; unpack it and add its photos")
    if member.compress_type not in COMPRESSIONS:
        raise ImageError(f"{name}: packed in an unusual way; make an ordinary zip")
    check_size(name, member.file_size)
    try:
        with archive.open(member) as file:
            return file.read(member.file_size)  # a size can lie, but no more than this is unpacked
    except Exception as error:  # as above
        raise ImageError(f"{name}: broken in the zip; make the zip again") from error
