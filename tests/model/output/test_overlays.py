"""Overlays cover the whole photo, right way up; what they show can be seen and hides no photo."""

import numpy as np
import pytest
from PIL import Image

from model import load
from model.errors import OptionError
from model.images import load_image
from model.output.overlays import STYLES, draw_overlay
from tests.support.paths import ROOT
from tools.map_visibility import measure_visibility


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(120, 40), (40, 120), (64, 64), (300, 10)])
def test_overlay_covers_the_photo_in_its_own_aspect_ratio(size, style):
    photo = Image.new("RGB", size, (60, 60, 60))
    heatmap = np.zeros((4, 6), np.float32)
    heatmap[3, 5] = 0.01  # the last patch: bottom right
    drawn = draw_overlay(photo, heatmap, style=style)
    assert drawn.size == size
    light = np.asarray(drawn.convert("L")).astype(int)
    corners = [light[0, 0], light[0, -1], light[-1, 0]]
    assert light[-1, -1] > max(corners) + 20
    assert len(set(corners)) == 1


def test_peaks():
    photo = Image.new("RGB", (8, 8), "white")
    flat = np.full((2, 2), 0.1, np.float32)
    draw = lambda *arguments: np.asarray(draw_overlay(photo, *arguments))  # noqa: E731
    assert draw(flat, None, "darken").min() == 255  # even attention hides nothing
    assert draw(flat, 0.4, "darken").max() < 160  # half of a shared scale
    assert draw(np.zeros((2, 2), np.float32), None, "darken").max() < 60
    assert draw(np.zeros((2, 2), np.float32)).min() == 255  # nothing glows


def test_the_glow_is_on_a_photo_without_colour_and_has_a_line_at_half_its_peak():
    photo = Image.new("RGB", (60, 60), (200, 40, 40))
    heatmap = np.zeros((6, 6), np.float32)
    heatmap[2:4, 2:4] = 1
    drawn = np.asarray(draw_overlay(photo, heatmap)).astype(int)
    assert np.ptp(drawn[0, 0]) < 25 < np.ptp(drawn[30, 30])
    row = drawn[30].min(axis=1)
    line = [x for x in range(1, 59) if row[x] > max(row[x - 1], row[x + 1]) + 50]
    assert len(line) == 2 and line[0] < 30 < line[1]


def test_strength_and_names():
    photo, heatmap = Image.new("RGB", (8, 8), "white"), np.eye(2, dtype=np.float32)
    grey = draw_overlay(photo, heatmap, strength=0)
    assert np.asarray(grey).min() == 255
    with pytest.raises(OptionError, match="choose from glow, heat, darken"):
        draw_overlay(photo, heatmap, style="rainbow")


def test_the_maps_of_a_photo_can_be_seen():
    photo = load_image(ROOT / "assets" / "examples" / "cat.jpg")
    brightness, difference = measure_visibility(load(), photo)
    assert brightness >= 0.9
    assert difference >= 30
