"""Photos of more than 8 bits a colour keep their brightness."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from model.images import load_image, resizing
from tests.support.images import draw_scene, encode_image, read_pixels, read_problem


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
        loaded = load_image(encode_image(Image.fromarray(values), kind))
        assert read_pixels(loaded) == [[(v, v, v) for v in expected]]


def test_deep_rgb_png():
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">3H", 65535, 32768, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row))
    assert read_pixels(load_image(data + chunk(b"IEND", b""))) == [[(255, 128, 0)]]


def make_png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write_deep_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits: values (height, width, channels), which Pillow cannot write in colour."""
    height, width, channels = values.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_png_chunk(*chunk) for chunk in chunks)


def write_deep_tiff(
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


DEEP_FILES = {
    "PNG": write_deep_png,
    "TIFF": write_deep_tiff,
    "TIFF of Motorola": lambda values: write_deep_tiff(values, ">"),
    "packed TIFF": lambda values: write_deep_tiff(values, packed=True),
    "packed TIFF of Motorola": lambda values: write_deep_tiff(values, ">", packed=True),
    "array": lambda values: values if values.shape[2] > 1 else values[..., 0],
}


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("write", DEEP_FILES.values(), ids=DEEP_FILES)
def test_what_uses_some_of_sixteen_bits_is_not_black(write, bits):
    """As cameras, scanners and microscopes write it: grey, colour and with transparency."""
    deep = np.round(draw_scene() / 255 * (2**bits - 1)).astype(np.uint16)
    opaque = np.full((*deep.shape[:2], 1), 2**bits - 1, np.uint16)
    for values in (deep, np.concatenate([deep, opaque], axis=2)):
        loaded = np.asarray(load_image(write(values)), int)
        assert np.abs(loaded - draw_scene()).max() <= 1
    loaded = np.asarray(load_image(write(deep[..., :1])), int)
    assert np.abs(loaded - draw_scene()[..., :1]).max() <= 1
    moved = draw_scene().astype(np.uint16) << (bits - 8)
    assert np.abs(np.asarray(load_image(write(moved)), int) - draw_scene()).max() <= 1


@pytest.mark.parametrize("step", [256, 257])
@pytest.mark.parametrize("write", DEEP_FILES.values(), ids=DEEP_FILES)
def test_what_was_dark_in_eight_bits_is_dark_in_sixteen(write, step):
    dark = draw_scene() // 16
    for channels in (1, 3):
        loaded = np.asarray(load_image(write(dark[..., :channels] * np.uint16(step))), int)
        assert np.abs(loaded - dark[..., :channels]).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_says_what_is_white(channels):
    dark = (draw_scene()[..., :channels] * np.uint16(4)) + np.uint16(1)  # ten bits' worth
    for largest, expected in ((65535, dark / 257), (4095, dark / 4095 * 255)):
        loaded = np.asarray(load_image(write_deep_tiff(dark, largest=largest)), int)
        assert np.abs(loaded - expected).max() <= 1


def test_a_deep_photo_that_is_reduced_or_opened_by_the_caller(tmp_path, monkeypatch):
    deep = np.round(draw_scene() / 255 * 4095).astype(np.uint16).repeat(4, 0).repeat(4, 1)
    path = tmp_path / "deep.png"
    path.write_bytes(write_deep_png(deep))
    with Image.open(path) as image:  # whose file Pillow closes
        assert np.abs(np.asarray(load_image(image), int)[::4, ::4] - draw_scene()).max() <= 1
    monkeypatch.setattr(resizing, "USEFUL_PIXELS", 96)
    for channels in (1, 3):
        loaded = np.asarray(load_image(write_deep_png(deep[..., :channels])), int)
        assert np.abs(loaded - draw_scene()[..., :channels]).max() <= 1


def test_sixteen_bits_in_planes_are_refused_where_they_would_be_garbage():
    deep = np.round(draw_scene() / 255 * 4095).astype(np.uint16)
    for packed in (False, True):
        data = write_deep_tiff(deep, planes=True, packed=packed)
        assert "each colour on its own; save it as PNG" in read_problem(data)
