"""What is on the disk: folders read by one rule (links are followed, circles ended, hidden names
left out), what lies beside a missing file, and files that Git LFS has not fetched."""

import mimetypes
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path


def _raise(error: OSError) -> None:
    raise error


def walk_folders(
    folder: str | Path,
    depth: int | None = None,
    on_error: Callable[[OSError], None] = _raise,
) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from `folder` downwards, parents first, with the sorted names of its files.

    Links to files and folders are followed, as `find -L` does. A folder that is reached again from
    inside itself is left out, which ends every circle, and so is every name that begins with a dot
    (`folder` itself may have any name). A link that leads nowhere counts as a file.

    depth: how many levels below `folder` are read; all if None.
    on_error: gets the OSError, with its `filename`, of a folder that cannot be read; raises it if
        not given.
    """
    yield from _walk(Path(folder), depth, on_error, ())


def _walk(
    folder: Path,
    depth: int | None,
    on_error: Callable[[OSError], None],
    parents: tuple[tuple[int, int], ...],
) -> Iterator[tuple[Path, list[str]]]:
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:  # which asks the disk once, however many files
            is_folder = {e.name: _is_folder(e) for e in entries if not e.name.startswith(".")}
    except OSError as error:
        on_error(error)
        return
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    yield folder, sorted(name for name, is_below in is_folder.items() if not is_below)
    if depth == 0:
        return
    for name in sorted(name for name, is_below in is_folder.items() if is_below):
        below = None if depth is None else depth - 1
        yield from _walk(folder / name, below, on_error, (*parents, identity))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # a link to itself makes the entry's own is_dir raise
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def walk_files(folder: str | Path, on_error: Callable[[OSError], None] = _raise) -> Iterator[Path]:
    """The files below a folder, links that lead nowhere included; no pipes or devices. For the
    rest see `walk_folders`."""
    for below, names in walk_folders(folder, on_error=on_error):
        for name in names:
            path = below / name
            if path.is_file() or not path.exists():
                yield path


LFS_POINTER = "a Git LFS pointer, not the file itself; fetch the files with: git lfs pull"


def is_lfs_pointer(data: bytes) -> bool:
    """Whether a file that begins with these bytes (of which 64 are enough) is what Git leaves in
    its place until Git LFS fetches it. `LFS_POINTER` says so to people."""
    return data.startswith(b"version https://git-lfs.github.com/spec/v1")


def is_lfs_pointer_file(path: str | Path) -> bool:
    """As `is_lfs_pointer`, of a file; False for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return is_lfs_pointer(file.read(64))
    except OSError:
        return False


def suggest_similar(path: str | Path) -> str:
    """What to tell who named a missing file: "did you mean ...?" or, where nothing is near, ""."""
    similar = find_similar(path)
    if similar is None:
        return ""
    # looks the same in print
    is_other_form = unicodedata.normalize("NFC", str(path)) == unicodedata.normalize(
        "NFC", str(similar)
    )
    remark = ", the same letters in another Unicode form" if is_other_form else ""
    return f"did you mean {similar}{remark}?"


def find_similar(path: str | Path) -> Path | None:
    """What lies where there is nothing at `path`, under nearly the same name: other capitals,
    another Unicode form (é as one character or two), / for backslashes, spaces at the ends, or at
    last another image suffix (.jpeg for .jpg). None where there is no such file or folder.

    It reads the folders on the way: for a message, not for each of many files.
    """
    name = str(path).replace("\\", "/")
    similar = Path(Path(name).anchor)
    *folders, last = Path(name).parts[bool(similar.anchor) :] or [""]
    for folder in folders:
        below = _most_similar(similar, folder, is_last=False)
        if below is None:
            return None
        similar = below
    return _most_similar(similar, last, is_last=True)


def _most_similar(folder: Path, wanted: str, is_last: bool) -> Path | None:
    if wanted == ".." or wanted and os.path.lexists(folder / wanted):
        return folder / wanted
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    forms = [_plain_form]
    if is_last and _has_image_suffix(wanted):
        forms.append(_without_image_suffix)
    for form in forms:
        for name in names:
            if form(name) == form(wanted):
                return folder / name
    return None


def _plain_form(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _has_image_suffix(name: str) -> bool:
    return (mimetypes.guess_type(name.strip(), strict=False)[0] or "").startswith("image/")


def _without_image_suffix(name: str) -> str:
    plain = _plain_form(name)
    return os.path.splitext(plain)[0] if _has_image_suffix(name) else plain
