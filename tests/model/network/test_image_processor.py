"""Our image processor beside the plain ones of transformers."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    BeitImageProcessor,
    BlipImageProcessor,
    CLIPImageProcessor,
    DeiTImageProcessor,
    SiglipImageProcessor,
    ViTImageProcessor,
)
from transformers.models.bit.image_processing_bit import BitImageProcessor

from model.errors import CheckpointError
from model.network.image_processor import (
    COMMON,
    FILE,
    KINDS,
    PlainImageProcessor,
    load_image_processor,
    read_image_processor,
)

CLASSES = [BitImageProcessor, CLIPImageProcessor, ViTImageProcessor, DeiTImageProcessor]
CLASSES += [SiglipImageProcessor, BlipImageProcessor, BeitImageProcessor]
SIZES = [(1, 1), (37, 53), (224, 224), (500, 333), (641, 5)]  # width, height


def draw_noise(size):
    width, height = size
    noise = np.random.default_rng(width).integers(256, size=(height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def check_same(theirs, ours, size):
    expected = theirs([draw_noise(size)], return_tensors="pt").pixel_values.float()
    pixel_values = ours([draw_noise(size)]).pixel_values
    assert pixel_values.dtype == torch.float32
    torch.testing.assert_close(pixel_values, expected, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", CLASSES)
def test_what_the_file_leaves_out_is_as_transformers_has_it(kind, size):
    ours = read_image_processor({"image_processor_type": kind.__name__})
    assert isinstance(ours, PlainImageProcessor)
    check_same(kind(), ours, size)
    check_same(kind(), read_image_processor(kind().to_dict()), size)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        *({"resample": resample} for resample in (0, 1, 2, 3)),
        {"size": {"height": 56, "width": 84}},
        {"size": {"shortest_edge": 32}, "do_center_crop": False},
        {"do_center_crop": True, "crop_size": {"height": 101, "width": 300}},
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 225, "width": 60}},
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    ],
    ids=str,
)
def test_every_setting(changes, size):
    theirs = BitImageProcessor(**changes)
    check_same(theirs, read_image_processor(theirs.to_dict()), size)


def test_old_files_give_one_number():
    for kind in (CLIPImageProcessor, ViTImageProcessor):
        theirs = kind(size=60, crop_size=50)
        values = {"image_processor_type": kind.__name__ + "Fast", "size": 60, "crop_size": 50}
        check_same(theirs, read_image_processor(values), (100, 70))


def test_saved_is_loaded_here_and_by_transformers(tmp_path):
    ours = read_image_processor(
        {
            "image_processor_type": "BitImageProcessor",
            "size": {"height": 28, "width": 70},
            "do_center_crop": False,
        }
    )
    ours.save_pretrained(tmp_path)
    assert load_image_processor(tmp_path) == ours
    check_same(AutoImageProcessor.from_pretrained(tmp_path), ours, (100, 70))


def test_one_that_does_more_stays_that_of_transformers(tmp_path):
    assert read_image_processor({"image_processor_type": "DINOv3ViTImageProcessor"}) is None
    assert read_image_processor({}) is None
    file = {"image_processor_type": "DINOv3ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / FILE).write_text(json.dumps(file))
    theirs = load_image_processor(tmp_path)
    assert type(theirs).__name__ == "DINOv3ViTImageProcessor" and theirs.size["height"] == 32


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"resample": 99}, "resample 99 is no known filter"),
        ({"resample": [3]}, r"resample \[3\] is no known filter"),
        ({"size": {"height": 5}}, "size must have height and width"),
        ({"size": {"longest_edge": 5}}, "size must have height and width"),
        ({"size": {"height": 5, "width": 0}}, "size must hold sides in pixels"),
        ({"crop_size": "large"}, "crop_size must hold sides in pixels, not 'large'"),
        ({"image_mean": [0.5, 0.5]}, r"image_mean must be three numbers, not \[0.5, 0.5\]"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std must be three numbers"),
        ({"image_std": "abc"}, "image_std must be three numbers"),
        ({"rescale_factor": "x"}, "rescale_factor must be a number, not 'x'"),
    ],
)
def test_what_makes_no_input_is_one_clear_line(changes, message, tmp_path):
    (tmp_path / FILE).write_text(
        json.dumps({"image_processor_type": "BitImageProcessor", **changes})
    )
    with pytest.raises(CheckpointError, match=f"{FILE}: {message}"):
        load_image_processor(tmp_path)


def test_every_kind_says_what_its_pixels_are():
    assert {kind.__name__ for kind in CLASSES} == set(KINDS)
    for values in KINDS.values():
        assert set(values) <= set(COMMON) | {"image_mean", "image_std"}
