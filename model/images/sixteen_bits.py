"""More than 8 bits a colour, of which Pillow keeps the upper ones: what was white stays white."""

import sys
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from model.errors import ImageError
from model.images.files import FORMATS
from model.images.resizing import get_reduction_factor, reduce_image

# tags of a TIFF: how many bits its numbers have, and the largest that there may be
BITS, MAX_SAMPLE_VALUE = ExifTags.Base.BitsPerSample, 281
SEPARATE_PLANES = "a TIFF of 16 bits with each colour on its own; save it as PNG or JPEG"
# How Pillow reads 16 bits a colour, of which it keeps the upper byte, and what reads the lower one.
OTHER_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in ("LB", "BL", ("N", "B" if sys.byteorder == "little" else "L"))
}


def convert_to_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floats as 8 bits, which Pillow's own conversion would clip."""
    if image.mode != "F":
        values = np.asarray(image)
        if values.max() <= 65535:
            white = choose_white(values, _read_declared_white(image))
            return Image.fromarray(
                scale_to_bytes(np.asarray(reduce_image(image.convert("I"))), white)
            )
    # Nothing says what white is in other files: it is their largest value.
    values = np.nan_to_num(np.asarray(reduce_image(image), np.float32))
    largest = max(float(values.max()), 1e-6)
    return Image.fromarray((values.clip(0, largest) / largest * 255).round().astype(np.uint8))


def _read_declared_white(image: Image.Image) -> int:
    """The largest value that a TIFF's tags allow, where they allow fewer than 16 bits; else 0."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (16,))[0]
    largest = tags.get(MAX_SAMPLE_VALUE)
    if isinstance(largest, tuple) and largest:
        largest = largest[0]
    if not (isinstance(largest, int | float) and 0 < largest <= 65535):
        largest = 0  # not there, or of no use
    return max(int(largest), 2**bits - 1 if bits < 16 else 0)


def choose_white(values: NDArray[Any], declared: int = 0) -> int:
    """What is white among numbers of up to 16 bits: the largest number of 8, 10, 12, 14 or 16 bits,
    whichever holds them all and what was declared.

    For cameras, scanners and microscopes keep 12 bits in 16, which would come out nearly black. So
    a true photo of 16 bits comes out brighter too if all of it is darker than a quarter of white;
    not so one that was made from 8 bits (all are multiples of 256 or 257): it is meant to be dark.
    """
    largest = int(values.max())
    if 255 < largest < 2**14 and any(not (values % step).any() for step in (256, 257)):
        return 65535
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if 2**bits > max(largest, declared))


def scale_to_bytes(values: NDArray[Any], white: int) -> NDArray[Any]:
    """Whole numbers from 0 to white as uint8; what is outside is cut off."""
    return (values.clip(0, white) * np.int64(255) / white).round().astype(np.uint8)


def get_raw_mode(image: Image.Image) -> str:
    """How Pillow will read the pixels of a file that it has opened; "" if they are there."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    raw_mode = args[0] if isinstance(args, tuple) and args else args
    return raw_mode if isinstance(raw_mode, str) else ""


def restore_lower_bytes(
    image: ImageFile.ImageFile, file: BinaryIO | None, raw_mode: str
) -> Image.Image:
    """Colours of 16 bits that use 14 of them or fewer: of each Pillow has read the upper byte,
    which leaves them nearly black. The lower byte is read as if the bytes' order were the other.
    """
    extrema = cast(tuple[tuple[int, int], ...], image.getextrema())  # a pair for each colour
    if max(highest for _, highest in extrema[:3]) >= 64:
        return image
    if getattr(image, "tag_v2", {}).get(ExifTags.Base.PlanarConfiguration) == 2:
        raise ImageError(SEPARATE_PLANES)
    source = image.filename if file is None or file.closed else file
    again = Image.open(source, formats=FORMATS)
    again.tile = [
        tile._replace(
            args=OTHER_BYTES[raw_mode]
            if isinstance(tile.args, str)
            else (OTHER_BYTES[raw_mode], *(tile.args or ())[1:])
        )
        for tile in again.tile
    ]
    # not the mean of many: the two bytes would no longer belong together
    times = get_reduction_factor(image)
    size = (image.width // times, image.height // times)
    upper, lower = (
        np.asarray(i.resize(size, Image.Resampling.NEAREST), np.uint16) for i in (image, again)
    )
    values = upper * np.uint16(256) + lower
    parts = [part for part in (values[..., :3], values[..., 3:]) if part.size]  # colours, alpha
    declared = _read_declared_white(again)
    parts = [scale_to_bytes(part, choose_white(part, declared)) for part in parts]
    return Image.fromarray(np.concatenate(parts, axis=2))
