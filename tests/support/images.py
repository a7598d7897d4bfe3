"""Images that tests draw, write and read."""

import io

import numpy as np
import pytest
from PIL import Image

from model.images import ImageError, load_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode_image(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read_pixels(image):
    """Rows of (red, green, blue)."""
    assert image.mode == "RGB"
    return [[tuple(p) for p in row] for row in np.asarray(image).tolist()]


def draw_corners():
    """2 wide, 3 high, each corner its own: red, green / blue, white."""
    image = Image.new("RGB", (2, 3))
    for position, colour in {(0, 0): RED, (1, 0): GREEN, (0, 2): BLUE, (1, 2): WHITE}.items():
        image.putpixel(position, colour)
    return image


def read_problem(source):
    """The message of the ImageError, which must be one line."""
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert message.isprintable()
    return message


def draw_scene() -> np.ndarray:
    """A photo as (height, width, 3) of uint8, from nearly black to nearly white."""
    x, y = np.meshgrid(np.linspace(3, 250, 12), np.linspace(5, 240, 8))
    return np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)
