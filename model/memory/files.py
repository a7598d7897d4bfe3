"""A memory's two files: `memory.json` and `features.safetensors`. Sizes are checked before anything
of that size is read, and nothing is unpickled.

`memory.json` has the digest of the features that it was saved with: files of two different saves
are never taken for one memory.
"""

import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.errors import DataError

FORMAT = "captionlens-memory"
ABOUT, FEATURES = "memory.json", "features.safetensors"
# a million photos with five captions each take half of these
MAX_ABOUT_BYTES = 1_000_000_000
MAX_FEATURES_BYTES = 4_000_000_000
MAX_HEADER_BYTES = 100_000  # of safetensors with one tensor
BLOCK_SIZE = 4096  # photos that are checked at a time: all would take twice the memory of features
DTYPES = ("F16", "F32")  # of the features, as safetensors names them


def holds_memory(folder: Path) -> bool:
    """Whether there is a memory in a folder, whole or not."""
    return (folder / ABOUT).exists()


def estimate_loaded_bytes(folder: Path) -> int:
    """How much of a process's memory the memory in a folder takes, once it is loaded and searched.

    Measured with up to 200,000 photos: two to three times its features (FAISS needs most), and four
    to six times its captions' file (short captions need most).
    """
    return 3 * (folder / FEATURES).stat().st_size + 6 * (folder / ABOUT).stat().st_size


def write_memory(folder: Path, about: dict[str, Any], features: Tensor) -> None:
    """Write both files; `about` has captioner, encoder and photos.

    What is there is replaced when both are whole, so that a full disk costs no memory. Cut off
    while it is replaced, the folder holds no memory, never captions of one and features of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = {"features_sha256": _compute_digest(features)}
    # ASCII, so that any string that Python holds can be written and comes back
    text = json.dumps({"format": FORMAT, **digest, **about}, indent=0)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as unfinished:
        Path(unfinished, ABOUT).write_text(text + "\n", encoding="ascii")
        save_file({"features": features.contiguous()}, Path(unfinished, FEATURES))
        (folder / ABOUT).unlink(missing_ok=True)
        for name in (FEATURES, ABOUT):
            os.replace(Path(unfinished, name), folder / name)


def read_memory(folder: Path) -> tuple[dict[str, Any], Tensor]:
    """What `write_memory` wrote: the same `about`, and the features (photos, width).

    Raises DataError, in one line, for files that are missing, cut, too large or do not belong
    together.
    """
    path = folder / ABOUT
    if not holds_memory(folder):
        raise DataError(f"{folder}: no memory in it; python -m model remember writes one")
    _check_size(path, MAX_ABOUT_BYTES)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _make_error(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _make_error(path, "not valid JSON") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _make_error(path, "not a memory")
    photos = about.get("photos")
    if (
        not all(isinstance(about.get(name), str) for name in ("captioner", "encoder"))
        or not isinstance(photos, list)
        or not all(map(_is_photo, photos))
    ):
        raise _make_error(path, "not a whole memory")
    features = _read_features(folder / FEATURES, len(photos))
    # memories saved before there was a digest have none
    if about.get("features_sha256", digest := _compute_digest(features)) != digest:
        raise _make_error(folder / FEATURES, f"not the features that {ABOUT} was saved with")
    return about, features


def _compute_digest(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().numpy().data).hexdigest()


def _is_photo(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(captions := value.get("captions"), list)
        and bool(captions)
        and all(isinstance(caption, str) for caption in captions)
    )


def _read_features(path: Path, num_photos: int) -> Tensor:
    _check_size(path, MAX_FEATURES_BYTES)
    try:
        with path.open("rb") as file:  # the first eight bytes: how long the header is
            if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
                raise _make_error(path, "not features of a memory")
        with safe_open(path, framework="pt") as file:
            if list(file.keys()) != ["features"]:
                raise _make_error(path, "not features of a memory")
            stored = file.get_slice("features")
            shape = stored.get_shape()
            if len(shape) != 2 or shape[0] != num_photos:
                raise _make_error(path, f"features {shape} of {num_photos} photos")
            if stored.get_dtype() not in DTYPES:
                raise _make_error(path, "not features of a memory")
            features = file.get_tensor("features")
    except OSError as error:
        raise _make_error(path, f"cannot be read ({error.strerror})") from error
    except SafetensorError as error:
        raise _make_error(path, f"not a whole safetensors file ({error})") from error
    if not all(block.isfinite().all() for block in features.split(BLOCK_SIZE)):
        raise _make_error(path, "not finite numbers")
    return features.clone()  # the file may be replaced while the memory is used


def _check_size(path: Path, limit: int) -> None:
    try:
        about = path.stat()
    except OSError as error:
        raise _make_error(path, f"cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(about.st_mode):
        raise _make_error(path, "not a plain file")
    if about.st_size > limit:
        raise _make_error(path, f"larger than {limit // 10**6} MB")


def _make_error(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: {problem}; save the memory again")
