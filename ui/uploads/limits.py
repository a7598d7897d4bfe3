"""How large what a visitor gives may be."""

from model.errors import ImageError

MEGABYTE = 2**20  # bytes
MAX_PHOTOS = 500  # at a time
MAX_PHOTO_BYTES = 20 * MEGABYTE


def check_size(name: str, size: int) -> None:
    """Raise ImageError for a photo of more bytes than one may have."""
    if size > MAX_PHOTO_BYTES:
        limit = MAX_PHOTO_BYTES // MEGABYTE
        raise ImageError(f"{name}: larger than {limit} MB; give a smaller copy")
