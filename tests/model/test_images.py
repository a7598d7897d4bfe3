"""Images of every format come in upright and RGB; everything else ends in one clear line."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from model import images
from model.images import ImageError, find_images, load_image, thin_photo

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(image):
    """Rows of (red, green, blue)."""
    assert image.mode == "RGB"
    return [[tuple(p) for p in row] for row in np.asarray(image).tolist()]


def corners():
    """2 wide, 3 high, each corner its own: red, green / blue, white."""
    image = Image.new("RGB", (2, 3))
    for position, colour in {(0, 0): RED, (1, 0): GREEN, (0, 2): BLUE, (1, 2): WHITE}.items():
        image.putpixel(position, colour)
    return image


def problem(source):
    """The message of the ImageError, which must be one line."""
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    corners().save(path)
    return path


@pytest.mark.parametrize(
    "source_of",
    [
        str,
        lambda path: path,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        Image.open,
        lambda path: np.asarray(Image.open(path)),
    ],
    ids=["str", "Path", "bytes", "bytearray", "file", "PIL", "array"],
)
def test_every_source_gives_the_same_image(photo, source_of):
    assert pixels(load_image(source_of(photo))) == pixels(corners())


def test_file_object_is_read_from_its_start_and_left_open(photo):
    with open(photo, "rb") as file:
        file.read()
        assert pixels(load_image(file)) == pixels(corners())
        assert not file.closed


def test_pipe(photo):
    read_end, write_end = os.pipe()
    os.write(write_end, photo.read_bytes())
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        assert pixels(load_image(pipe)) == pixels(corners())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_kinds(kind):
    loaded = load_image(encoded(Image.new("RGB", (8, 8), WHITE), kind))
    assert pixels(loaded) == [[WHITE] * 8] * 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind, orientation):
    # Blocks of 16 pixels, so that JPEG keeps the colours of the corners apart.
    upright = corners().resize((32, 48), Image.Resampling.NEAREST)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    turn = images.TRANSPOSE_BY_ORIENTATION.get(inverse)
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"subsampling": 0, "quality": 95} if kind == "JPEG" else {}
    data = encoded(stored, kind, exif=exif, **options)

    for loaded in (load_image(data), load_image(load_image(data))):
        assert loaded.size == upright.size
        assert np.abs(np.asarray(loaded, int) - np.asarray(upright, int)).max() < 40


def test_broken_exif_does_not_cost_the_photo():
    data = encoded(corners(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels(load_image(data)) == pixels(corners())


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[[9, 9, 9, 0], [*BLUE, 255]]], np.uint8), "RGBA"),
        Image.fromarray(np.array([[[9, 9, 9, 0], [*BLUE, 255]]], np.uint8), "RGBA").convert("PA"),
    ],
    ids=["RGBA", "PA"],
)
def test_transparent_is_white(image):
    assert pixels(load_image(image)) == [[WHITE, BLUE]]


def test_half_transparent_is_mixed_with_white():
    image = Image.new("LA", (1, 1), (0, 128))
    assert pixels(load_image(encoded(image))) == [[(127, 127, 127)]]


def test_transparent_colour_of_palette_grey_and_rgb_is_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    assert pixels(load_image(encoded(palette, transparency=0))) == [[WHITE, BLUE]]
    assert pixels(load_image(encoded(palette, "GIF", transparency=0))) == [[WHITE, BLUE]]
    grey = Image.fromarray(np.array([[7, 50]], np.uint8))
    assert pixels(load_image(encoded(grey, transparency=7))) == [[WHITE, (50, 50, 50)]]
    rgb = palette.convert("RGB")
    assert pixels(load_image(encoded(rgb, transparency=RED))) == [[WHITE, BLUE]]


def test_palette_grey_and_one_bit():
    assert pixels(load_image(encoded(corners().convert("P", palette=1)))) == pixels(corners())
    assert pixels(load_image(encoded(Image.new("L", (1, 1), 77)))) == [[(77, 77, 77)]]
    one_bit = Image.new("1", (2, 1))
    one_bit.putpixel((1, 0), 1)
    assert pixels(load_image(encoded(one_bit))) == [[(0, 0, 0), WHITE]]


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([[0, 32768, 65535]], np.uint16), [0, 128, 255]),
        (np.array([[0, 257, 514]], np.uint16), [0, 1, 2]),
        (np.array([[-5, 1_000_000, 2_000_000]], np.int32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.zeros((1, 3), np.float32), [0, 0, 0]),
        (np.array([[0, 1.7e38, 3.4e38]], np.float32), [0, 128, 255]),  # fuzzing found it
    ],
)
def test_deep_grey_keeps_its_brightness(values, expected):
    for kind in ("PNG", "TIFF") if values.dtype == np.uint16 else ("TIFF",):
        loaded = load_image(encoded(Image.fromarray(values), kind))
        assert pixels(loaded) == [[(v, v, v) for v in expected]]


def test_deep_rgb_png():
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">3H", 65535, 32768, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row))
    assert pixels(load_image(data + chunk(b"IEND", b""))) == [[(255, 128, 0)]]


def test_cmyk():
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = pixels(load_image(encoded(ink, "JPEG", quality=100)))[0][0]
    assert red > 250 and green < 5 and blue < 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_is_its_first_frame(kind):
    frames = [Image.new("RGB", (2, 2), colour) for colour in (WHITE, RED, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert pixels(load_image(data)) == [[WHITE] * 2] * 2


def test_callers_image_is_left_alone():
    image = corners()
    load_image(image).putpixel((0, 0), BLUE)
    assert image.getpixel((0, 0)) == RED


def test_not_an_image_names_the_file_and_the_kinds(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("milk, eggs")
    assert problem(path) == (
        f"{path}: not an image that can be opened; give a JPEG, PNG, WebP, HEIC, GIF, BMP or TIFF "
        "file"
    )
    assert problem(b"milk, eggs").startswith("image: not an image")


def test_postscript_is_never_run(tmp_path):
    path = tmp_path / "drawing.png"
    corners().save(path, "EPS")
    assert "PostScript" in problem(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    assert problem(path).startswith(f"{path}: an empty file")
    assert "empty file" in problem(b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_cut_short(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "half.img"
    path.write_bytes(data[: len(data) // 2])
    assert problem(path).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_damaged_bytes_give_an_image_or_an_image_error(kind):
    if kind not in images.FORMATS:
        pytest.skip(f"this Pillow has no {kind}")
    whole = encoded(corners().resize((32, 48)), kind)
    random = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for position in random.integers(0, len(data), 4):
            data[position] = random.integers(256)
        try:
            load_image(data)
        except ImageError as error:
            assert str(error).isprintable()


def test_missing_and_folder(tmp_path):
    missing = tmp_path / "missing.jpg"
    assert problem(missing).startswith(f"{missing}: cannot be opened (No such file")
    assert problem(str(tmp_path)).startswith(f"{tmp_path}: cannot be opened (Is a directory")
    assert "cannot be opened" in problem("null\0byte.jpg")


def test_message_is_one_line_whatever_the_name(tmp_path):
    assert problem("two\nlines.jpg").startswith("two?lines.jpg: ")
    assert problem(os.fsdecode(b"caf\xe9.jpg")).startswith("caf?.jpg: ")


def test_too_many_pixels_is_seen_before_decoding(monkeypatch):
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 40_000, 40_000, 1, 24,
                         0, 0, 0, 0, 0, 0)  # fmt: skip
    assert "more than 100,000,000 pixels; give a smaller copy" in problem(header)

    monkeypatch.setattr(images, "MAX_PIXELS", 5)
    assert "more than 5 pixels" in problem(encoded(corners()))
    assert "more than 5 pixels" in problem(corners())
    monkeypatch.setattr(images, "MAX_PIXELS", 6)
    load_image(corners())


@pytest.mark.parametrize(
    "source",
    [None, 3, ["photo.jpg"], io.StringIO("x")],
    ids=["None", "int", "list", "text file"],
)
def test_other_things_are_not_images(source):
    problem(source)


def test_no_pixels():
    assert "no pixels" in problem(Image.new("RGB", (0, 4)))
    assert problem(np.zeros((0, 4, 3), np.uint8))


def test_heic():
    """As iPhones take them: lossy, so colours are near."""
    near = np.asarray(load_image(encoded(Image.new("RGB", (64, 64), (200, 60, 30)), "HEIF")))
    assert near.shape == (64, 64, 3) and np.abs(near - np.array([200, 60, 30])).max() < 12


@pytest.mark.parametrize("kind", ["ICO", "PCX", "QOI", "SGI", "DDS", "JPEG2000"])
def test_rarer_formats(kind):
    image = Image.new("RGB", (16, 16), (200, 60, 30))
    if kind == "QOI":  # which Pillow reads only: one pixel, and a run of 62 four times
        data = b"qoif" + struct.pack(">IIBB", 16, 16, 3, 0) + b"\xfe\xc8\x3c\x1e"
        data += b"\xfd" * 4 + b"\xc6" + bytes(7) + b"\x01"
    else:
        data = encoded(image, kind)
    assert np.abs(np.asarray(load_image(data), int) - [200, 60, 30]).max() <= 3


def exchanged_profile():
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
    loaded = np.asarray(load_image(encoded(image, icc_profile=exchanged_profile())), int)
    assert np.abs(loaded - GREEN).max() < 12


def test_a_transparent_colour_is_transparent_whatever_the_profile():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    loaded = pixels(load_image(encoded(image, transparency=RED, icc_profile=exchanged_profile())))
    assert loaded[0][0] == WHITE and loaded[0][1] != WHITE


@pytest.mark.parametrize("profile", [b"nothing", exchanged_profile()[:200]])
@pytest.mark.parametrize("mode", ["RGB", "L", "LA"])
def test_a_profile_that_cannot_be_used_costs_nothing(profile, mode):
    image = Image.new(mode, (4, 4), "white")
    assert pixels(load_image(encoded(image, icc_profile=profile))) == [[WHITE] * 4] * 4
    wrong_kind = encoded(Image.new("L", (4, 4), 255), icc_profile=exchanged_profile())
    assert pixels(load_image(wrong_kind)) == [[WHITE] * 4] * 4


@pytest.mark.parametrize(
    "kind, mode", [("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16")]
)
def test_more_than_enough_is_reduced(kind, mode, monkeypatch):
    """By a whole number, the picture stays, turned as its EXIF says."""
    monkeypatch.setattr(images, "USEFUL_PIXELS", 100)
    left = Image.new("L", (60, 40), 0)
    left.paste(255, (0, 0, 20, 40))
    if mode == "I;16":
        left = Image.fromarray(np.asarray(left, np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 3
    reduced = load_image(encoded(left.convert(mode), kind, exif=exif))
    assert 100 <= reduced.width * reduced.height < 400 and reduced.width > reduced.height
    grey = np.asarray(reduced.convert("L"))
    assert grey[:, -2:].min() > 200 and grey[:, : reduced.width // 2].max() < 60
    assert load_image(reduced).size == reduced.size  # once is enough
    whole = Image.new("RGB", (60, 40))
    load_image(whole)
    assert whole.size == (60, 40)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"%PDF-1.7 ...", "a PDF; save its page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg xmlns=...", "an SVG drawing"),
        (b"  <svg width='3'>", "an SVG drawing"),
        (b"<?xml version='1.0'?><html>", "not an image"),
        (b"%!PS-Adobe", "PostScript"),
        (b"PK\x03\x04....", "a zip or a document"),
        (b"\0\0\0\x20ftypisom....", "a video"),
    ],
)
def test_what_people_take_for_photos_is_called_by_its_name(data, message):
    assert message in problem(data)


def test_limits_are_seen_before_decoding(monkeypatch, tmp_path):
    long, small = encoded(Image.new("L", (60, 1))), encoded(corners())
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(images, "MAX_SIDE", 50)
    assert "more than 50 pixels long" in problem(long)
    monkeypatch.setattr(images, "MAX_BYTES", 2**20)
    (tmp_path / "large.png").write_bytes(small + bytes(2**20))
    assert "large.png: larger than 1 MB" in problem(tmp_path / "large.png")
    monkeypatch.setattr(images, "MAX_SIDE", 5000)
    slow = b"qoif" + struct.pack(">IIBB", 3000, 3000, 3, 0) + bytes(100)
    assert "too many for the format QOI" in problem(slow)


def test_find_images_in_a_folder(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", ".hidden.jpg", ".git/d.jpg", "notes.txt", "e.eps"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.jpg").mkdir()
    names = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert names == ["a.png", "b.JPG", os.path.join("sub", "c.webp")]
    assert find_images(str(tmp_path)) == find_images(tmp_path)


def test_find_images_keeps_a_file_whatever_its_suffix(tmp_path):
    path = tmp_path / "photo.backup"
    path.touch()
    assert find_images(path) == [path]


def test_find_images_reports_a_missing_path_and_an_empty_folder(tmp_path):
    with pytest.raises(ImageError, match="missing: no such file or folder; check the path"):
        find_images(tmp_path / "missing")
    with pytest.raises(ImageError, match=r"a folder without images; give one with JPEG"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    "size, expected", [((300, 200), (60, 40)), ((3000, 1), (60, 1)), ((1, 1), (60, 60))]
)
def test_fit_keeps_the_shape_and_never_vanishes(size, expected):
    assert images.fit_photo(Image.new("RGB", size), 60).size == expected


@pytest.mark.parametrize(
    "size, expected", [((403, 901), (100, 150)), ((399, 2000), (399, 2000)), ((99, 99), (99, 99))]
)
def test_only_a_much_larger_photo_is_thinned(size, expected):
    assert thin_photo(Image.new("RGB", size), (100, 150), Image.Resampling.BICUBIC).size == expected


# --- sixteen bits ---------------------------------------------------------------------------


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits: values (height, width, channels), which Pillow cannot write in colour."""
    height, width, channels = values.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def deep_tiff(
    values: np.ndarray,
    order: str = "<",
    packed: bool = False,
    planes: bool = False,
    largest: int = 0,
) -> bytes:
    """A TIFF of 16 bits; `largest` is written as what its numbers may reach."""
    height, width, channels = values.shape
    parts = np.moveaxis(values, 2, 0) if planes else [values]
    strips = [np.ascontiguousarray(part).astype(f"{order}u2").tobytes() for part in parts]
    if packed:
        strips = [zlib.compress(strip) for strip in strips]
    tags = {256: [width], 257: [height], 258: [16] * channels, 259: [8 if packed else 1]}
    tags |= {262: [2 if channels > 1 else 1], 277: [channels], 278: [height]}
    tags |= {279: [len(strip) for strip in strips], 284: [2 if planes else 1]}
    tags |= {338: [2]} if channels == 4 else {}
    tags |= {281: [largest] * channels} if largest else {}
    directory = 8 + sum(map(len, strips))
    outside = directory + 2 + 12 * (len(tags) + 1) + 4  # where lists of more than one number go
    starts = np.cumsum([8, *map(len, strips)])[:-1].tolist()
    entries, lists = b"", b""
    for tag, numbers in sorted({**tags, 273: starts}.items()):
        packed_numbers = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            lists, packed_numbers = (
                lists + packed_numbers,
                struct.pack(f"{order}I", outside + len(lists)),
            )
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + packed_numbers
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    count = struct.pack(f"{order}H", len(tags) + 1)
    return head + b"".join(strips) + count + entries + bytes(4) + lists


def scene() -> np.ndarray:
    """A photo as (height, width, 3) of uint8, from nearly black to nearly white."""
    x, y = np.meshgrid(np.linspace(3, 250, 12), np.linspace(5, 240, 8))
    return np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)


DEEP_FILES = {
    "PNG": deep_png,
    "TIFF": deep_tiff,
    "TIFF of Motorola": lambda values: deep_tiff(values, ">"),
    "packed TIFF": lambda values: deep_tiff(values, packed=True),
    "packed TIFF of Motorola": lambda values: deep_tiff(values, ">", packed=True),
    "array": lambda values: values if values.shape[2] > 1 else values[..., 0],
}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("write", DEEP_FILES.values(), ids=DEEP_FILES)
def test_what_uses_some_of_sixteen_bits_is_not_black(write, bits):
    """As cameras, scanners and microscopes write it: grey, colour and with transparency."""
    deep = np.round(scene() / 255 * (2**bits - 1)).astype(np.uint16)
    opaque = np.full((*deep.shape[:2], 1), 2**bits - 1, np.uint16)
    for values in (deep, np.concatenate([deep, opaque], axis=2)):
        loaded = np.asarray(load_image(write(values)), int)
        assert np.abs(loaded - scene()).max() <= 1
    loaded = np.asarray(load_image(write(deep[..., :1])), int)
    assert np.abs(loaded - scene()[..., :1]).max() <= 1
    moved = scene().astype(np.uint16) << (bits - 8)
    assert np.abs(np.asarray(load_image(write(moved)), int) - scene()).max() <= 1


@pytest.mark.parametrize("step", [256, 257])
@pytest.mark.parametrize("write", DEEP_FILES.values(), ids=DEEP_FILES)
def test_what_was_dark_in_eight_bits_is_dark_in_sixteen(write, step):
    dark = scene() // 16
    for channels in (1, 3):
        loaded = np.asarray(load_image(write(dark[..., :channels] * np.uint16(step))), int)
        assert np.abs(loaded - dark[..., :channels]).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_says_what_is_white(channels):
    dark = (scene()[..., :channels] * np.uint16(4)) + np.uint16(1)  # ten bits' worth
    for largest, expected in ((65535, dark / 257), (4095, dark / 4095 * 255)):
        loaded = np.asarray(load_image(deep_tiff(dark, largest=largest)), int)
        assert np.abs(loaded - expected).max() <= 1


def test_a_deep_photo_that_is_reduced_or_opened_by_the_caller(tmp_path, monkeypatch):
    deep = np.round(scene() / 255 * 4095).astype(np.uint16).repeat(4, 0).repeat(4, 1)
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(deep))
    with Image.open(path) as image:  # whose file Pillow closes
        assert np.abs(np.asarray(load_image(image), int)[::4, ::4] - scene()).max() <= 1
    monkeypatch.setattr(images, "USEFUL_PIXELS", 96)
    for channels in (1, 3):
        loaded = np.asarray(load_image(deep_png(deep[..., :channels])), int)
        assert np.abs(loaded - scene()[..., :channels]).max() <= 1


def test_sixteen_bits_in_planes_are_refused_where_they_would_be_garbage():
    deep = np.round(scene() / 255 * 4095).astype(np.uint16)
    for data in (deep_tiff(deep, planes=True), deep_tiff(deep, planes=True, packed=True)):
        assert "each colour on its own; save it as PNG" in problem(data)


# --- arrays and tensors ---------------------------------------------------------------------


def channels_first(array):
    return array.transpose(2, 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array,
        lambda array: (array / 255).astype(np.float32),
        lambda array: array / 255,
        lambda array: array.astype(np.int64),
        lambda array: np.dstack([array, np.full(array.shape[:2], 255, np.uint8)]),
        lambda array: np.dstack([array / 255, np.ones(array.shape[:2])]),
        lambda array: array[:, ::-1][:, ::-1],
    ],
    ids=["uint8", "float32", "float64", "int64", "RGBA", "float RGBA", "strides"],
)
@pytest.mark.parametrize("order", [lambda array: array, channels_first], ids=["HWC", "CHW"])
@pytest.mark.parametrize(
    "kind", [np.asarray, lambda array: torch.from_numpy(array.copy())], ids=["array", "tensor"]
)
def test_arrays_and_tensors_of_every_kind(change, order, kind):
    assert (np.asarray(load_image(kind(order(change(scene()))))) == scene()).all()


def test_rarer_arrays_and_tensors():
    tensor = torch.from_numpy(channels_first(scene() / 255).copy())
    for source in (tensor.float().requires_grad_(), tensor.half(), tensor.bfloat16()):
        assert np.abs(np.asarray(load_image(source), int) - scene()).max() <= 1
    grey = scene()[..., 0]
    for source in (grey, grey[None], grey[..., None], grey / 255, torch.from_numpy(grey.copy())):
        assert (np.asarray(load_image(source)) == grey[..., None]).all()
    assert pixels(load_image(np.array([[True, False]]))) == [[WHITE, (0, 0, 0)]]


@pytest.mark.parametrize(
    "source, message",
    [
        (scene() / 255 - 0.5, "from -0.488235 to 0.480392; give floats from 0 to 1"),
        (scene().astype(np.float32), "of float32 from 3 to 250; give floats from 0 to 1"),
        (scene() * np.nan, "from nan to nan"),
        (scene().astype(int) - 9, "from -6 to 241"),
        (scene().astype(object), "an array of object; give"),
        (scene()[None], "an array (1, 8, 12, 3); give one photo"),
        (scene()[0, 0], "an array (3,); give one photo"),
        (np.zeros((5, 6, 7)), "an array (5, 6, 7); give one photo"),
        (np.array("photo.jpg"), "an array (); give one photo"),
        (torch.zeros(2, 3, 8, 8), "an array (2, 3, 8, 8); give one photo"),
    ],
)
def test_other_arrays_are_one_line(source, message):
    assert message in problem(source)


# --- what is not there ----------------------------------------------------------------------


def test_a_missing_photo_and_what_lies_beside_it(tmp_path):
    (tmp_path / "x.JPG").touch()
    missing, advice = tmp_path / "x.jpg", f"did you mean {tmp_path / 'x.JPG'}?"
    assert problem(missing).endswith(advice)
    with pytest.raises(ImageError, match="no such file or folder") as caught:
        find_images(missing)
    assert str(caught.value).endswith(advice)


def test_a_photo_that_git_lfs_has_not_fetched(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    assert problem(path).startswith(f"{path}: a Git LFS pointer") and "git lfs pull" in problem(
        path
    )


def test_find_images_follows_links_and_keeps_what_is_lost(tmp_path, monkeypatch):
    folder, disk = tmp_path / "photos", tmp_path / "disk"
    for name in ("a.jpg", "locked/b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    disk.mkdir()
    (disk / "c.jpg").touch()
    (folder / "album").symlink_to(disk)
    (disk / "circle").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "unmounted")
    (folder / "notes.jpg.txt").touch()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    paths = find_images(folder)
    assert [str(path.relative_to(folder)) for path in paths] == [
        "a.jpg",
        "album/c.jpg",
        "gone",
        "locked",
    ]
    assert problem(folder / "locked").startswith(
        f"{folder / 'locked'}: cannot be opened (Permission"
    )
    assert "the link leads nowhere" in problem(folder / "gone")
