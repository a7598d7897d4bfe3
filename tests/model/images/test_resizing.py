"""What is larger than anyone needs comes smaller, as it was."""

import numpy as np
import pytest
from PIL import Image

from model.images import fit_photo, load_image, resizing, thin_photo
from tests.support.images import encode_image


@pytest.mark.parametrize(
    "kind, mode", [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16")]
)
def test_more_than_enough_is_reduced(kind, mode, monkeypatch):
    """By a whole number, the picture stays, turned as its EXIF says."""
    monkeypatch.setattr(resizing, "USEFUL_PIXELS", 100)
    left = Image.new("L", (60, 40), 0)
    left.paste(255, (0, 0, 20, 40))
    if mode == "I;16":
        left = Image.fromarray(np.asarray(left, np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 3
    reduced = load_image(encode_image(left.convert(mode), kind, exif=exif))
    assert 100 <= reduced.width * reduced.height < 400 and reduced.width > reduced.height
    grey = np.asarray(reduced.convert("L"))
    assert grey[:, -2:].min() > 200 and grey[:, : reduced.width // 2].max() < 60
    assert load_image(reduced).size == reduced.size  # once is enough
    whole = Image.new("RGB", (60, 40))
    load_image(whole)
    assert whole.size == (60, 40)


@pytest.mark.parametrize(
    "size, expected", [((300, 200), (60, 40)), ((3000, 1), (60, 1)), ((1, 1), (60, 60))]
)
def test_fit_keeps_the_shape_and_never_vanishes(size, expected):
    assert fit_photo(Image.new("RGB", size), 60).size == expected


@pytest.mark.parametrize(
    "size, expected", [((403, 901), (100, 150)), ((399, 2000), (399, 2000)), ((99, 99), (99, 99))]
)
def test_only_a_much_larger_photo_is_thinned(size, expected):
    assert thin_photo(Image.new("RGB", size), (100, 150), Image.Resampling.BICUBIC).size == expected
