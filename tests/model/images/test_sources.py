"""Every kind of source gives the same image, or one clear line."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from model.images import ImageError, find_images, load_image
from tests.support.images import (
    BLUE,
    RED,
    WHITE,
    draw_corners,
    draw_scene,
    read_pixels,
    read_problem,
)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    draw_corners().save(path)
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
    assert read_pixels(load_image(source_of(photo))) == read_pixels(draw_corners())


def test_file_object_is_read_from_its_start_and_left_open(photo):
    with open(photo, "rb") as file:
        file.read()
        assert read_pixels(load_image(file)) == read_pixels(draw_corners())
        assert not file.closed


def test_pipe(photo):
    read_end, write_end = os.pipe()
    os.write(write_end, photo.read_bytes())
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        assert read_pixels(load_image(pipe)) == read_pixels(draw_corners())


def test_callers_image_is_left_alone():
    image = draw_corners()
    load_image(image).putpixel((0, 0), BLUE)
    assert image.getpixel((0, 0)) == RED


def test_missing_and_folder(tmp_path):
    missing = tmp_path / "missing.jpg"
    assert read_problem(missing).startswith(f"{missing}: cannot be opened (No such file")
    assert read_problem(str(tmp_path)).startswith(f"{tmp_path}: cannot be opened (Is a directory")
    assert "cannot be opened" in read_problem("null\0byte.jpg")


def test_message_is_one_line_whatever_the_name(tmp_path):
    assert read_problem("two\nlines.jpg").startswith("two?lines.jpg: ")
    assert read_problem(os.fsdecode(b"caf\xe9.jpg")).startswith("caf?.jpg: ")


@pytest.mark.parametrize(
    "source",
    [None, 3, ["photo.jpg"], io.StringIO("x")],
    ids=["None", "int", "list", "text file"],
)
def test_other_things_are_not_images(source):
    read_problem(source)


def put_channels_first(array):
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
@pytest.mark.parametrize("order", [lambda array: array, put_channels_first], ids=["HWC", "CHW"])
@pytest.mark.parametrize(
    "kind", [np.asarray, lambda array: torch.from_numpy(array.copy())], ids=["array", "tensor"]
)
def test_arrays_and_tensors_of_every_kind(change, order, kind):
    assert (np.asarray(load_image(kind(order(change(draw_scene()))))) == draw_scene()).all()


def test_rarer_arrays_and_tensors():
    tensor = torch.from_numpy(put_channels_first(draw_scene() / 255).copy())
    for source in (tensor.float().requires_grad_(), tensor.half(), tensor.bfloat16()):
        assert np.abs(np.asarray(load_image(source), int) - draw_scene()).max() <= 1
    grey = draw_scene()[..., 0]
    for source in (grey, grey[None], grey[..., None], grey / 255, torch.from_numpy(grey.copy())):
        assert (np.asarray(load_image(source)) == grey[..., None]).all()
    assert read_pixels(load_image(np.array([[True, False]]))) == [[WHITE, (0, 0, 0)]]


@pytest.mark.parametrize(
    "source, message",
    [
        (draw_scene() / 255 - 0.5, "from -0.488235 to 0.480392; give floats from 0 to 1"),
        (draw_scene().astype(np.float32), "of float32 from 3 to 250; give floats from 0 to 1"),
        (draw_scene() * np.nan, "from nan to nan"),
        (draw_scene().astype(int) - 9, "from -6 to 241"),
        (draw_scene().astype(object), "an array of object; give"),
        (draw_scene()[None], "an array (1, 8, 12, 3); give one photo"),
        (draw_scene()[0, 0], "an array (3,); give one photo"),
        (np.zeros((5, 6, 7)), "an array (5, 6, 7); give one photo"),
        (np.array("photo.jpg"), "an array (); give one photo"),
        (torch.zeros(2, 3, 8, 8), "an array (2, 3, 8, 8); give one photo"),
    ],
)
def test_other_arrays_are_one_line(source, message):
    assert message in read_problem(source)


def test_a_missing_photo_and_what_lies_beside_it(tmp_path):
    (tmp_path / "x.JPG").touch()
    missing, advice = tmp_path / "x.jpg", f"did you mean {tmp_path / 'x.JPG'}?"
    assert read_problem(missing).endswith(advice)
    with pytest.raises(ImageError, match="no such file or folder") as caught:
        find_images(missing)
    assert str(caught.value).endswith(advice)
