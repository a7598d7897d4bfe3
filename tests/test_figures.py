"""Overlays cover the whole photo, right way up; the sheet has a cell for each word."""

import json

import numpy as np
import pytest
from PIL import Image

from model.figures import contact_sheet, overlay, save_figure
from tests.tiny import draw_photo, tiny_captioner


@pytest.mark.parametrize("size", [(120, 40), (40, 120), (64, 64), (300, 10)])
def test_overlay_covers_the_photo_in_its_own_aspect_ratio(size):
    photo = Image.new("RGB", size, "white")
    heatmap = np.zeros((4, 6), np.float32)
    heatmap[3, 5] = 0.01  # the last patch: bottom right
    drawn = overlay(photo, heatmap)
    assert drawn.size == size
    light = np.asarray(drawn.convert("L")).astype(int)
    row, column = np.unravel_index(light.argmax(), light.shape)
    assert row >= size[1] * 0.7 and column >= size[0] * 0.8
    assert light.max() > 250 > 60 > light[0, 0]


def test_overlay_peaks():
    photo = Image.new("RGB", (8, 8), "white")
    flat = np.full((2, 2), 0.1, np.float32)
    assert np.asarray(overlay(photo, flat)).min() == 255  # even attention hides nothing
    assert np.asarray(overlay(photo, flat, peak=0.4)).max() < 160  # half of a shared scale
    assert np.asarray(overlay(photo, np.zeros((2, 2), np.float32))).max() < 60


def test_sheet_has_a_cell_a_word(tmp_path):
    captioner, photo = tiny_captioner(), draw_photo(300, 150)
    explanation = captioner.explain(photo, "a bb ccc dd extraordinarily f g")
    sheet = contact_sheet(photo, explanation, side=100)
    assert sheet.width == 10 + 5 * 110  # five columns: the photo and seven words
    assert sheet.height == 10 + 2 * (50 + 24 + 10)
    last_cell = np.asarray(sheet)[94:144, 230:330]
    assert last_cell.std() > 5  # the eighth cell is drawn...
    assert (np.asarray(sheet)[94:, 341:] == 255).all()  # ...and no ninth
    save_figure(sheet, tmp_path / "sheet.png", {"method": "attention", "text": "für"})
    with Image.open(tmp_path / "sheet.png") as saved:
        assert json.loads(saved.text["captionlens"]) == {"method": "attention", "text": "für"}
    assert photo.size == (300, 150)
