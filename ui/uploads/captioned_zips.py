"""A zip of captioned photos, in any of the formats that training reads.

Its captions are read from a folder in which the photos are empty files; their bytes come from the
zip, one photo at a time, when they are asked for. What captions name outside of the zip is never
opened.
"""

import io
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model.corpora import CaptionedImage, merge_splits, read_data
from model.corpora.formats import recognise
from model.errors import DataError, ImageError
from ui.gradio_internals import get_upload_folder
from ui.uploads.files import Upload
from ui.uploads.limits import MAX_PHOTOS, MEGABYTE
from ui.uploads.zips import is_zip, list_files, open_zip, read_listing, read_member

CAPTION_SUFFIXES = {".txt", ".caption", ".csv", ".tsv", ".json", ".jsonl"}
MAX_CAPTION_BYTES = 10 * MEGABYTE  # of all files with captions in a zip, unpacked
MAX_CAPTIONS = 20  # of a photo
MAX_CAPTION_LENGTH = 500  # characters


@dataclass(frozen=True)
class ZippedPhoto:
    """A captioned photo in an open zip; `member` is None where the zip has no such photo."""

    name: str
    captions: list[str]
    archive: zipfile.ZipFile
    member: tuple[str, zipfile.ZipInfo] | None

    @property
    def path(self) -> io.BytesIO:
        """The photo's bytes, read anew. Raises ImageError, in one line that begins with its
        name."""
        if self.member is None:
            raise ImageError(f"{self.name}: not in the zip, though it has captions")
        path, member = self.member
        file = io.BytesIO(read_member(self.archive, member, path, self.name))
        file.name = self.name  # what errors call it
        return file


@contextmanager
def open_captioned_zip(upload: Upload) -> Iterator[list[ZippedPhoto]]:
    """The captioned photos of a zip, which can be read until the block ends.

    Raises ImageError or DataError, in one line, for a zip of no use, and for one that is too large,
    before more than its list is read.
    """
    if not is_zip(upload.name):
        raise ImageError(f"{upload.name}: no zip; give a zip of photos with their captions")
    with open_zip(upload.path, upload.name) as archive:
        photos = {_as_path(path): (path, m) for path, m in read_listing(archive, upload.name)[0]}
        if len(photos) > MAX_PHOTOS:
            raise ImageError(f"{upload.name}: more than {MAX_PHOTOS} photos; give fewer at a time")
        with tempfile.TemporaryDirectory(dir=get_upload_folder()) as temporary:
            # as links: what names in captions lead to is compared with what stands here
            folder = Path(os.path.realpath(temporary), "zip")
            folder.mkdir()
            _write_folder(archive, upload.name, folder, list(photos))
            items = _read_captions(folder, upload.name)
        zipped = []
        for item in items:
            place = os.path.relpath(os.path.normpath(item.path), folder)
            zipped.append(ZippedPhoto(item.name, item.captions, archive, photos.get(place)))
        yield zipped


@contextmanager
def open_captioned_zips(uploads: Sequence[Upload]) -> Iterator[list[ZippedPhoto]]:
    """As `open_captioned_zip`, of several zips together.

    Raises DataError also for a name that two of them have: one photo would take the other's place.
    """
    with ExitStack() as stack:
        photos: list[ZippedPhoto] = []
        zips: dict[str, Upload] = {}
        for upload in uploads:
            for photo in stack.enter_context(open_captioned_zip(upload)):
                earlier = zips.setdefault(photo.name, upload)
                if earlier is not upload:
                    raise DataError(
                        f"{photo.name}: in {earlier.name} and in {upload.name}; put both into one "
                        "zip, in a folder each"
                    )
                photos.append(photo)
        yield photos


def _as_path(path: str) -> str:
    """A path in a zip of any system as one of this system's."""
    return os.path.normpath(path.replace("\\", "/"))


def _write_folder(
    archive: zipfile.ZipFile, name: str, folder: Path, photo_paths: list[str]
) -> None:
    """Write the zip's files with captions, and an empty file for each photo."""
    captions = [
        (path, member)
        for path, member in list_files(archive, name)
        if Path(path).suffix.lower() in CAPTION_SUFFIXES
    ]
    if sum(member.file_size for _, member in captions) > MAX_CAPTION_BYTES:
        limit = MAX_CAPTION_BYTES // MEGABYTE
        raise ImageError(f"{name}: more than {limit} MB of captions; give fewer at a time")
    contents = {_as_path(path): read_member(archive, m, path, path) for path, m in captions}
    try:
        for path, content in {**dict.fromkeys(photo_paths, b""), **contents}.items():
            target = Path(os.path.normpath(folder / path))
            if target.is_relative_to(folder):  # `ZippedPhoto.path` says what is wrong with others
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    except (OSError, ValueError) as error:  # a name that is too long, or a file's and a folder's
        raise ImageError(f"{name}: names in it cannot be used here; make it again") from error


def _read_captions(folder: Path, name: str) -> list[CaptionedImage]:
    """The photos and captions in the folder of a zip of this name."""
    try:
        if recognise(folder) == "hub":  # reading it may write and take as much as it likes
            raise DataError(f"{name}: a saved dataset; give the photos and their captions")
        items = merge_splits(read_data(folder))
    except DataError as error:
        text = str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), name)
        raise DataError(text) from error
    for item in items:
        if len(item.captions) > MAX_CAPTIONS:
            raise DataError(f"{item.name}: more than {MAX_CAPTIONS} captions; keep the best")
        if max(map(len, item.captions)) > MAX_CAPTION_LENGTH:
            raise DataError(
                f"{item.name}: a caption of more than {MAX_CAPTION_LENGTH} characters; shorten it"
            )
    return items
