"""Other views of a photo: the photo, its captions and a teacher's map change together."""

import numpy as np
import torch
from PIL import Image

from training.data.augmentation import Augmentation, View, mirror_caption


def test_mirrored_captions():
    assert (
        mirror_caption("Left of the right hand, leftmost.") == "Right of the left hand, leftmost."
    )
    assert mirror_caption("turn RIGHT, then lEFT") == "turn LEFT, then lEFT"


def test_a_view_is_told_by_seed_pass_and_photo_alone():
    augmentation = Augmentation(mirror=True, crop=0.5)
    views = [augmentation.choose_view(index, epoch) for epoch in range(4) for index in range(50)]
    torch.manual_seed(9)
    torch.rand(3)
    again = [augmentation.choose_view(index, epoch) for epoch in range(4) for index in range(50)]
    assert views == again and len(set(views)) == 200
    assert views[0] != Augmentation(mirror=True, crop=0.5, seed=1).choose_view(0, 0)
    state = torch.get_rng_state()
    augmentation.choose_view(0, 0)
    assert torch.equal(torch.get_rng_state(), state)  # dropout is left as it was


def test_no_more_is_cut_off_than_was_said():
    views = [Augmentation(crop=0.5).choose_view(index, 0) for index in range(200)]
    areas = [view.box[2] * view.box[3] for view in views]
    assert 0.49 < min(areas) < 0.6 and 0.9 < max(areas) <= 1
    assert not any(view.mirror for view in views)
    for top, left, height, width in (view.box for view in views):
        assert top >= 0 and left >= 0 and top + height <= 1.001 and left + width <= 1.001
    assert Augmentation().choose_view(0, 0) == View()


def test_a_map_is_cut_like_its_photo():
    """Each cell of the map holds its own place; so does each pixel of the photo."""
    side = 96
    rows, cols = np.mgrid[0:side, 0:side].astype(np.uint8)
    photo = Image.fromarray(np.stack([rows, cols, 0 * rows], -1))
    cells = 12
    centres = (torch.arange(cells) + 0.5) / cells * side - 0.5
    places = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), -1)
    for view in (
        View(),
        View(True),
        View(False, (0.25, 0.5, 0.5, 0.4)),
        View(True, (0, 0.1, 0.6, 0.7)),
    ):
        shown = np.asarray(view.transform_photo(photo).resize((cells, cells), Image.Resampling.BOX))
        moved = view.transform_map(places)
        assert moved.shape == places.shape
        inside = slice(1, -1)  # at the edge, a map has no neighbour to interpolate with
        np.testing.assert_allclose(moved[inside, inside], shown[inside, inside, :2], atol=1.6)


def test_captions_follow_the_mirror_only():
    said = "A dog on the left."
    assert (
        View().transform_caption(said) == View(box=(0, 0, 0.5, 0.5)).transform_caption(said) == said
    )
    assert View(mirror=True).transform_caption(said) == "A dog on the right."
