"""Which files are images: the formats that are opened, and what to say of all others."""

import os
from collections.abc import Callable
from pathlib import Path

import pillow_heif
from PIL import Image

from model.errors import ImageError
from model.files import LFS_POINTER, is_lfs_pointer, suggest_similar, walk_files

# Pillow knows more formats. These run other programs, need one (video, weather maps), or match
# any bytes (TGA).
REFUSED_FORMATS = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "TGA"}
Image.init()
pillow_heif.register_heif_opener()  # the photos of iPhones
# a build of Pillow may lack one of them
FORMATS = [name for name in Image.OPEN if name not in REFUSED_FORMATS]
# In folders only what is likely a photo is looked for.
PHOTO_FORMATS = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM"}
SUFFIXES = {s for s, name in Image.registered_extensions().items() if name in PHOTO_FORMATS}
FORMAT_NAMES = "JPEG, PNG, WebP, HEIC, GIF, BMP or TIFF"  # what messages ask for
# What people take for photos: how it begins, and what to do with it.
ADVICE_BY_START = {
    b"%PDF": "a PDF; save its page as PNG or JPEG",
    b"%!PS": "PostScript, which is a program; save it as PNG or JPEG",
    b"<svg": "an SVG drawing; save it as PNG",
    b"PK\x03\x04": "a zip or a document; take the photos out of it",
    b"\x1aE\xdf\xa3": "a video; save one of its pictures",
}
VIDEO_SIGNATURES = (b"ftypisom", b"ftypmp42", b"ftypqt  ", b"ftypM4V ")


def find_images(
    path: str | Path, accepts_too: Callable[[Path], bool] = lambda path: False
) -> list[Path]:
    """The images that a path stands for: itself, or all below a folder in sorted order.

    A file counts whatever its suffix: `load_image` finds out what it is. In a folder, files with
    an image's suffix count; hidden files and folders do not. Links are followed (`model.files`). A
    folder that cannot be read, and a link that leads nowhere, are in the list too: `load_image`
    says what is wrong, and nothing is lost without a word.

    accepts_too: whether a file of another suffix counts.

    Raises `ImageError` if there is no such path, or no image in the folder.
    """
    if not os.path.isdir(path):
        if not os.path.lexists(path):
            advice = suggest_similar(path) or "check the path"
            raise make_error(path, f"no such file or folder; {advice}")
        return [Path(path)]
    unreadable: list[OSError] = []
    images = [
        file
        for file in walk_files(path, unreadable.append)
        if file.suffix.lower() in SUFFIXES or accepts_too(file) or not file.exists()
    ]
    images += [Path(error.filename) for error in unreadable]
    if not images:
        raise make_error(path, f"a folder without images; give one with {FORMAT_NAMES} files")
    return sorted(images)


def describe_other_file(head: bytes) -> str:
    """What a file is that is no image, by how it begins, and what to do."""
    if not head:
        return "an empty file; save or download it again"
    if head[4:12] in VIDEO_SIGNATURES:
        return "a video; save one of its pictures"
    if is_lfs_pointer(head):
        return LFS_POINTER
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if text.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text:
        text = b"<svg"
    for begins, problem in ADVICE_BY_START.items():
        if text.startswith(begins):
            return problem
    return f"not an image that can be opened; give a {FORMAT_NAMES} file"


def make_error(source: object, problem: str) -> ImageError:
    """An error of one line that begins with the name of the source, if it has one."""
    name: object
    if isinstance(source, str | os.PathLike):
        name = str(source)
    else:
        name = getattr(source, "filename", None) or getattr(source, "name", None)
    text = f"{name if isinstance(name, str) else 'image'}: {problem}"
    # Names and Pillow's messages may hold line breaks, and names bytes that are not text.
    return ImageError("".join(c if c.isprintable() else "?" for c in text))
