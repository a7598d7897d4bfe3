"""Images of every format come in upright and RGB; everything else ends in one clear line."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from model.images import FORMATS, ImageError, load_image, loading, sources
from tests.support.images import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    draw_corners,
    encode_image,
    read_pixels,
    read_problem,
)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_kinds(kind):
    loaded = load_image(encode_image(Image.new("RGB", (8, 8), WHITE), kind))
    assert read_pixels(loaded) == [[WHITE] * 8] * 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind, orientation):
    # Blocks of 16 pixels, so that JPEG keeps the colours of the corners apart.
    upright = draw_corners().resize((32, 48), Image.Resampling.NEAREST)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    turn = loading.TRANSPOSE_BY_ORIENTATION.get(inverse)
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"subsampling": 0, "quality": 95} if kind == "JPEG" else {}
    data = encode_image(stored, kind, exif=exif, **options)

    for loaded in (load_image(data), load_image(load_image(data))):
        assert loaded.size == upright.size
        assert np.abs(np.asarray(loaded, int) - np.asarray(upright, int)).max() < 40


def test_broken_exif_does_not_cost_the_photo():
    data = encode_image(draw_corners(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_pixels(load_image(data)) == read_pixels(draw_corners())


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[[9, 9, 9, 0], [*BLUE, 255]]], np.uint8), "RGBA"),
        Image.fromarray(np.array([[[9, 9, 9, 0], [*BLUE, 255]]], np.uint8), "RGBA").convert("PA"),
    ],
    ids=["RGBA", "PA"],
)
def test_transparent_is_white(image):
    assert read_pixels(load_image(image)) == [[WHITE, BLUE]]


def test_half_transparent_is_mixed_with_white():
    image = Image.new("LA", (1, 1), (0, 128))
    assert read_pixels(load_image(encode_image(image))) == [[(127, 127, 127)]]


def test_transparent_colour_of_palette_grey_and_rgb_is_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    assert read_pixels(load_image(encode_image(palette, transparency=0))) == [[WHITE, BLUE]]
    assert read_pixels(load_image(encode_image(palette, "GIF", transparency=0))) == [[WHITE, BLUE]]
    grey = Image.fromarray(np.array([[7, 50]], np.uint8))
    assert read_pixels(load_image(encode_image(grey, transparency=7))) == [[WHITE, (50, 50, 50)]]
    rgb = palette.convert("RGB")
    assert read_pixels(load_image(encode_image(rgb, transparency=RED))) == [[WHITE, BLUE]]


def test_palette_grey_and_one_bit():
    assert read_pixels(
        load_image(encode_image(draw_corners().convert("P", palette=1)))
    ) == read_pixels(draw_corners())
    assert read_pixels(load_image(encode_image(Image.new("L", (1, 1), 77)))) == [[(77, 77, 77)]]
    one_bit = Image.new("1", (2, 1))
    one_bit.putpixel((1, 0), 1)
    assert read_pixels(load_image(encode_image(one_bit))) == [[(0, 0, 0), WHITE]]


def test_cmyk():
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = read_pixels(load_image(encode_image(ink, "JPEG", quality=100)))[0][0]
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_is_its_first_frame(kind):
    frames = [Image.new("RGB", (2, 2), colour) for colour in (WHITE, RED, BLUE)]
    data = encode_image(frames[0], kind, save_all=True, append_images=frames[1:])
    assert read_pixels(load_image(data)) == [[WHITE] * 2] * 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_cut_short(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode_image(Image.fromarray(noise), kind)
    path = tmp_path / "half.img"
    path.write_bytes(data[: len(data) // 2])
    problem = read_problem(path)
    assert problem.startswith(f"{path}: ") and "bytes not processed" not in problem


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_damaged_bytes_give_an_image_or_an_image_error(kind):
    if kind not in FORMATS:
        pytest.skip(f"this Pillow has no {kind}")
    whole = encode_image(draw_corners().resize((32, 48)), kind)
    random = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for position in random.integers(0, len(data), 4):
            data[position] = random.integers(256)
        try:
            load_image(data)
        except ImageError as error:
            assert str(error).isprintable()


def test_too_many_pixels_is_seen_before_decoding(monkeypatch):
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 40_000, 40_000, 1, 24,
                         0, 0, 0, 0, 0, 0)  # fmt: skip
    assert "more than 100,000,000 pixels; give a smaller copy" in read_problem(header)

    monkeypatch.setattr(loading, "MAX_PIXELS", 5)
    assert "more than 5 pixels" in read_problem(encode_image(draw_corners()))
    assert "more than 5 pixels" in read_problem(draw_corners())
    monkeypatch.setattr(loading, "MAX_PIXELS", 6)
    load_image(draw_corners())


def test_no_pixels():
    assert "no pixels" in read_problem(Image.new("RGB", (0, 4)))
    assert read_problem(np.zeros((0, 4, 3), np.uint8))


def test_heic():
    """As iPhones take them: lossy, so colours are near."""
    near = np.asarray(load_image(encode_image(Image.new("RGB", (64, 64), (200, 60, 30)), "HEIF")))
    assert near.shape == (64, 64, 3) and np.abs(near - np.array([200, 60, 30])).max() < 12


@pytest.mark.parametrize("kind", ["ICO", "PCX", "QOI", "SGI", "DDS", "JPEG2000"])
def test_rarer_formats(kind):
    image = Image.new("RGB", (16, 16), (200, 60, 30))
    if kind == "QOI":  # which Pillow reads only: one pixel, and a run of 62 four times
        data = b"qoif" + struct.pack(">IIBB", 16, 16, 3, 0) + b"\xfe\xc8\x3c\x1e"
        data += b"\xfd" * 4 + b"\xc6" + bytes(7) + b"\x01"
    else:
        data = encode_image(image, kind)
    assert np.abs(np.asarray(load_image(data), int) - [200, 60, 30]).max() <= 3


def make_exchanged_profile():
    """sRGB's profile with red and green for each other."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (tags,) = struct.unpack_from(">I", data, 128)
    entry = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(tags)}
    red, green = (bytes(data[entry[name] + 4 : entry[name] + 12]) for name in (b"rXYZ", b"gXYZ"))
    data[entry[b"rXYZ"] + 4 : entry[b"rXYZ"] + 12] = green
    data[entry[b"gXYZ"] + 4 : entry[b"gXYZ"] + 12] = red
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_of_another_profile_become_those_of_a_screen(mode):
    image = Image.new("RGB", (4, 4), RED).convert(mode)
    loaded = np.asarray(load_image(encode_image(image, icc_profile=make_exchanged_profile())), int)
    assert np.abs(loaded - GREEN).max() < 12


def test_a_transparent_colour_is_transparent_whatever_the_profile():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    loaded = read_pixels(
        load_image(encode_image(image, transparency=RED, icc_profile=make_exchanged_profile()))
    )
    assert loaded[0][0] == WHITE and loaded[0][1] != WHITE


@pytest.mark.parametrize("profile", [b"nothing", make_exchanged_profile()[:200]])
@pytest.mark.parametrize("mode", ["RGB", "L", "LA"])
def test_a_profile_that_cannot_be_used_costs_nothing(profile, mode):
    image = Image.new(mode, (4, 4), "white")
    assert read_pixels(load_image(encode_image(image, icc_profile=profile))) == [[WHITE] * 4] * 4
    wrong_kind = encode_image(Image.new("L", (4, 4), 255), icc_profile=make_exchanged_profile())
    assert read_pixels(load_image(wrong_kind)) == [[WHITE] * 4] * 4


def test_limits_are_seen_before_decoding(monkeypatch, tmp_path):
    long, small = encode_image(Image.new("L", (60, 1))), encode_image(draw_corners())
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(loading, "MAX_SIDE", 50)
    assert "more than 50 pixels long" in read_problem(long)
    monkeypatch.setattr(sources, "MAX_BYTES", 2**20)
    (tmp_path / "large.png").write_bytes(small + bytes(2**20))
    assert "large.png: larger than 1 MB" in read_problem(tmp_path / "large.png")
    monkeypatch.setattr(loading, "MAX_SIDE", 5000)
    slow = b"qoif" + struct.pack(">IIBB", 3000, 3000, 3, 0) + bytes(100)
    assert "too many for the format QOI" in read_problem(slow)


@pytest.mark.parametrize("tag, value", [(34675, (1, 2, 3)), (281, (1.5,)), (281, b"\x07")])
def test_tags_that_are_odd_cost_nothing(tag, value):
    """A profile, and the largest of its numbers, as no program ought to write them."""
    photo = Image.new("RGB", (4, 4), RED)
    photo.tag_v2 = {tag: value}
    photo.info["icc_profile"] = value
    assert read_pixels(load_image(photo)) == [[RED] * 4] * 4
    deep = Image.fromarray(np.full((1, 3), 65535, np.uint16))
    deep.tag_v2 = {tag: value}
    assert read_pixels(load_image(deep)) == [[WHITE] * 3]


@pytest.mark.parametrize("slip", [TypeError, ValueError, KeyError])
def test_a_slip_of_ours_is_not_told_as_the_files(slip, monkeypatch):
    def fail(image):
        raise slip("a slip")

    monkeypatch.setattr(loading, "reduce_image", fail)
    with pytest.raises(slip, match="a slip") as caught:
        load_image(encode_image(draw_corners()))
    assert not isinstance(caught.value, ImageError)
