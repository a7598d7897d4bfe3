"""Where results will be written, tried before the work that makes them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import OptionError


def check_output_file(path: str | Path) -> None:
    """Raises OptionError, in one line that says what to do, for a file that cannot be written.

    The folder that it is to be in must exist: a mistyped path makes no new folders. A file that is
    there is not changed, and none is left behind.
    """
    target = Path(os.path.realpath(path))  # a link is written through
    with _naming(path):
        if target.is_dir() or str(path).endswith(os.sep):
            raise OptionError(f"{path}: a folder; give the name of a file")
        if not target.parent.is_dir():
            is_there = target.parent.exists()
            problem = "is a file, no folder;" if is_there else "does not exist; make it, or"
            raise OptionError(f"{path}: {target.parent} {problem} give another path")
        if target.is_file():
            open(target, "ab").close()
        elif not _exists(target):
            _try_folder(target.parent)
        elif not os.access(target, os.W_OK):  # a pipe or device, which opening would set going
            raise PermissionError(0, "Permission denied")


def check_output_folder(path: str | Path) -> None:
    """Raises OptionError, in one line that says what to do, for a folder that cannot be written in.

    It need not exist, nor the folders above it: whoever writes makes them. None is left behind.
    """
    nearest = Path(os.path.abspath(path))
    with _naming(path):
        while not os.path.lexists(nearest):
            _exists(nearest)
            nearest = nearest.parent
        if not nearest.is_dir():
            is_there = nearest.exists()
            problem = "is a file, no folder" if is_there else "is a link that leads nowhere"
            raise OptionError(f"{path}: {nearest} {problem}; give another path")
        _try_folder(nearest)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror}); give another path"
        raise OptionError(f"{path}: {problem}") from error


def _exists(path: Path) -> bool:
    """As Path.exists, but a name that is too long, or a link to itself, raises its OSError."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _try_folder(folder: Path) -> None:
    # rights alone do not tell: a disk may be read-only, and root may do anything
    with tempfile.TemporaryFile(dir=folder):
        pass
