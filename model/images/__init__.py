"""The one door for images: any file, bytes, array or PIL image to an upright RGB image.

Nothing else opens images, so every part of CaptionLens sees the same picture and a bad file
always ends in an `ImageError` of one line.
"""

from model.errors import ImageError
from model.images.files import FORMATS, PHOTO_FORMATS, SUFFIXES, find_images
from model.images.loading import load_image
from model.images.resizing import fit_photo, thin_photo
from model.images.sources import ImageSource

__all__ = [
    "FORMATS",
    "PHOTO_FORMATS",
    "SUFFIXES",
    "ImageError",
    "ImageSource",
    "find_images",
    "fit_photo",
    "load_image",
    "thin_photo",
]
