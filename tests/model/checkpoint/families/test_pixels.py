"""Photos are seen whole: as the family's own processor gives them, where that squashes too."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from model import load
from tests.support.hub import git, save
from tests.support.prompted_hub import QWENS, save_prompted

PIXELS = np.random.default_rng(3).integers(0, 256, (2, 6, 9, 3), dtype=np.uint8)
WIDE = [Image.fromarray(pixels).resize((90, 60)) for pixels in PIXELS]
SQUARE = [photo.resize((50, 50)) for photo in WIDE]


def read_both(folder, photos, **options):
    """What our captioner sees of photos, and what the folder's image processor makes of them."""
    own = AutoImageProcessor.from_pretrained(folder)
    theirs = own(photos, return_tensors="pt", **options)["pixel_values"]
    return load(folder).network.pixel_values(photos), theirs


@pytest.mark.parametrize("family", ["paligemma", "gemma3", "internvl"])
def test_pixels_are_those_of_a_processor_that_squashes(family, tmp_path):
    """InternVL's does so to the whole photo that it adds to its tiles."""
    save_prompted(family, tmp_path)
    options = {"crop_to_patches": False} if family == "internvl" else {}
    torch.testing.assert_close(*read_both(tmp_path, WIDE, **options))


@pytest.mark.parametrize("family", ["llava", "git"])
def test_pixels_of_a_square_photo_are_those_of_a_processor_that_crops(family, tmp_path):
    if family == "git":
        save(tmp_path, *git())
    else:
        save_prompted(family, tmp_path)
    torch.testing.assert_close(*read_both(tmp_path, SQUARE))
    ours, theirs = read_both(tmp_path, WIDE)
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() > 0.1  # theirs lacks the ends


@pytest.mark.parametrize("family", QWENS)
def test_patches_are_those_of_a_processor_that_keeps_the_shape(family, tmp_path):
    """Of a photo that has the encoder's size; of another it makes another grid."""
    save_prompted(family, tmp_path)
    captioner = load(tmp_path)
    photos = [photo.resize((64, 64)) for photo in WIDE]
    seen = []
    captioner.network.encoder.parts[0].register_forward_pre_hook(
        lambda _, inputs, named: seen.append((*inputs, named["grid_thw"])), with_kwargs=True
    )
    captioner.encode(photos)
    own = AutoImageProcessor.from_pretrained(tmp_path)(photos, return_tensors="pt")
    ((patches, counts),) = seen
    torch.testing.assert_close(patches, own["pixel_values"])
    assert counts.equal(own["image_grid_thw"])


@pytest.mark.parametrize("family", ["idefics3", "smolvlm"])
def test_pixels_hardly_differ_where_the_processor_resizes_twice(family, tmp_path):
    save_prompted(family, tmp_path)
    ours, theirs = read_both(tmp_path, WIDE, do_image_splitting=False)
    assert (ours - theirs[0]).abs().max() < 0.1 < ours.std()
