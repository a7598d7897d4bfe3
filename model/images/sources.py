"""What a caller may give for an image: a path, bytes, an open file, a picture or its numbers."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.errors import ImageError
from model.files import suggest_similar
from model.images.files import FORMATS, describe_other_file
from model.images.sixteen_bits import choose_white, scale_to_bytes

MAX_BYTES = 200 * 2**20

# What `load_image` takes: a path, a file's bytes, an open file, a picture or its numbers.
ImageSource = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | NDArray[Any]
    | torch.Tensor
)


@contextmanager
def open_source(source: ImageSource) -> Iterator[Image.Image]:
    """The source as a PIL image whose pixels need not be decoded yet."""
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        yield _convert_array(array, channels_first=True)
    elif isinstance(source, np.ndarray):
        yield _convert_array(source, channels_first=False)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _open_file(io.BytesIO(source))
    elif isinstance(source, str | os.PathLike):
        try:
            file = open(source, "rb")
        except (OSError, ValueError) as error:
            reason = _explain_unreadable(source) or getattr(error, "strerror", None) or error
            advice = "give an image file"
            if isinstance(error, FileNotFoundError):
                is_link = os.path.islink(source)
                similar = suggest_similar(str(source))
                advice = "the link leads nowhere" if is_link else similar or advice
            raise ImageError(f"cannot be opened ({reason}); {advice}") from error
        with file:
            yield _open_file(file)
    elif hasattr(source, "read"):
        yield _open_file(source)
    else:
        raise ImageError(
            f"{type(source).__name__} is not an image; give a path, bytes, a binary file, "
            "a PIL image or an array"
        )


def _explain_unreadable(path: str | os.PathLike[str]) -> str | None:
    """Why a folder cannot be read, which opening it as a file does not tell."""
    if os.path.isdir(path):
        try:
            os.scandir(path).close()
        except OSError as error:
            return error.strerror
    return None


def _convert_array(array: NDArray[Any], channels_first: bool) -> Image.Image:
    """An array as an image; `channels_first` decides where the first side and the last could both
    be channels."""
    shape, is_photo = array.shape, array.ndim == 2
    if array.ndim == 3:
        is_first, is_last = shape[0] in (1, 3, 4), shape[2] in (1, 3, 4)
        if is_first and (channels_first or not is_last):
            array = array.transpose(1, 2, 0)
        if array.shape[2] == 1:
            array = array[..., 0]
        is_photo = is_first or is_last
    if not is_photo or 0 in shape:
        raise ImageError(
            f"an array {shape}; give one photo, (height, width, 3), (3, height, width) or "
            "(height, width)"
        )
    return Image.fromarray(np.ascontiguousarray(_convert_to_bytes(array)))


def _convert_to_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """The values as uint8, if their type and range tell what is white."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array * np.uint8(255)
    values = ""
    if array.dtype.kind in "iuf":
        lowest, highest = array.min(), array.max()
        values = f" from {lowest:g} to {highest:g}"
        if array.dtype.kind == "f" and -0.001 <= lowest and highest <= 1.001:  # False for NaN
            return (array.clip(0, 1) * 255).round().astype(np.uint8)
        if array.dtype.kind != "f" and 0 <= lowest and highest <= 65535:
            return scale_to_bytes(array, choose_white(array))
    raise ImageError(
        f"an array of {array.dtype}{values}; give floats from 0 to 1, or uint8 from 0 to 255"
    )


def _open_file(file: BinaryIO) -> Image.Image:
    try:
        file.seek(0)
    except (AttributeError, io.UnsupportedOperation):  # a pipe
        file = io.BytesIO(file.read())
    file.seek(0, os.SEEK_END)
    if file.tell() > MAX_BYTES:
        raise ImageError(f"larger than {MAX_BYTES // 2**20} MB; give a smaller copy")
    file.seek(0)
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        raise ImageError(describe_other_file(file.read(1000))) from error
