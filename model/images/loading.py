"""Any image as an upright RGB image of a useful size."""

import io
import re
import traceback
import warnings

from PIL import ExifTags, Image, ImageCms, ImageFile

from model.errors import ImageError
from model.images.files import make_error
from model.images.resizing import get_reduction_factor, reduce_image
from model.images.sixteen_bits import (
    BITS,
    OTHER_BYTES,
    SEPARATE_PLANES,
    convert_to_eight_bits,
    get_raw_mode,
    restore_lower_bytes,
)
from model.images.sources import ImageSource, open_source

MAX_PIXELS = 100_000_000
MAX_PIXELS_SLOW = 4_000_000  # in formats that Pillow decodes in Python
# and in formats that take several times the memory of their pixels
MAX_PIXELS_BY_FORMAT = {"JPEG2000": 25_000_000, "WEBP": 50_000_000, "AVIF": 50_000_000}
MAX_SIDE = 65_535  # pixels
LEFT_BYTES = re.compile(r" \(\d+ bytes not processed\)")  # Pillow's, of no use to who has the file

# What undoes each value of EXIF's orientation tag.
TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns of broken EXIF and of sizes that we allow. Users get the photo or an `ImageError`.
warnings.filterwarnings("ignore", module=r"PIL\.")


def load_image(source: ImageSource) -> Image.Image:
    """An upright 8-bit RGB image in sRGB; transparent parts are white, an animation is its first
    frame, and a very large image comes at a half, a third, ... of its size (see `USEFUL_PIXELS`).

    `source` is a path, the bytes of a file, a binary file object, a PIL image, or an array or a
    tensor: (height, width), (height, width, 3), or with the channels first, of floats from 0 to 1
    or of whole numbers. The result carries no metadata, so loading it again changes nothing.
    Memory: under 1 GB at the worst (100 million pixels with a palette and transparency), 20 MB for
    a phone's JPEG of 12 million.

    Raises `ImageError` for every source that does not give such an image.
    """
    try:
        with open_source(source) as image:
            # from the header: nothing is decoded yet
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if max(image.size) > MAX_SIDE:
                raise ImageError(f"more than {MAX_SIDE:,} pixels long; cut it into parts")
            slow = any(decoder in Image.DECODERS for decoder, *_ in getattr(image, "tile", ()))
            limit = (
                MAX_PIXELS_SLOW
                if slow
                else MAX_PIXELS_BY_FORMAT.get(image.format or "", MAX_PIXELS)
            )
            if image.width * image.height > limit:
                raise ImageError(
                    f"more than {limit:,} pixels, too many for the format {image.format}; "
                    "save it as PNG or JPEG"
                )
            if not isinstance(source, Image.Image):  # a caller's own image stays as it is
                times = get_reduction_factor(image)
                image.draft(None, (image.width // times, image.height // times))
            return _to_upright_rgb(image)
    except ImageError as error:
        raise make_error(source, str(error)) from error
    except Image.DecompressionBombError as error:
        raise make_error(source, f"more than {MAX_PIXELS:,} pixels; give a smaller copy") from error
    except Exception as error:
        if not (isinstance(error, OSError) or _is_raised_by_pillow(error)):
            raise
        reason = LEFT_BYTES.sub("", str(error)) or type(error).__name__
        problem = f"broken or incomplete ({reason}); save or download it again"
        raise make_error(source, problem) from error


def _is_raised_by_pillow(error: Exception) -> bool:
    """Whether Pillow raised it: over a broken file that may be anything, SyntaxError included,
    which our own code would raise by a slip."""
    modules = (frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(module.partition(".")[0] in ("PIL", "pillow_heif") for module in modules)


def _to_upright_rgb(image: Image.Image) -> Image.Image:
    """The decoded image with its 16 bits, orientation, profile and transparency applied."""
    if 0 in image.size:
        raise ImageError("no pixels in it; give another image")
    file, raw_mode = getattr(image, "fp", None), get_raw_mode(image)
    bits = getattr(image, "tag_v2", {}).get(BITS, ())
    if image.format == "TIFF" and raw_mode == "R" and 16 in bits:
        raise ImageError(SEPARATE_PLANES)  # Pillow would take them for numbers of 8 bits
    image.load()  # TIFF turns itself while it loads, and PNG may have its EXIF at the end
    turn = TRANSPOSE_BY_ORIENTATION.get(_read_orientation(image))
    beside = dict(image.info)
    if image.mode.startswith(("I", "F")):
        image = convert_to_eight_bits(image)
        beside.pop("transparency", None)  # a grey of the deep scale
    if isinstance(image, ImageFile.ImageFile) and raw_mode in OTHER_BYTES:
        image = restore_lower_bytes(image, file, raw_mode)
    if image.has_transparency_data and image.mode != "RGBA":
        image = image.convert("RGBA")  # now, while a colour that means "transparent" is that colour
        beside.pop("transparency", None)
    elif image.mode not in ("L", "RGB", "RGBA", "CMYK"):
        image = image.convert("RGB")
    image = reduce_image(image)  # before there are more copies of it
    image.info = beside  # `reduce` and `convert` forget some of it
    image = _to_srgb(image)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")  # a copy: a caller's own image stays as it is
    image.info = {}
    return image if turn is None else image.transpose(turn)


def _read_orientation(image: Image.Image) -> int:
    """The value of EXIF's orientation tag; 1, which is upright, where there is none to be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # of any kind: broken EXIF must not cost the user the photo
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_srgb(image: Image.Image) -> Image.Image:
    """Colours of another profile, such as a phone's wide one, as those of a screen; a profile that
    is broken or of another kind than the pixels is ignored, as browsers do."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source_profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source_profile, srgb, outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError):
        return image
