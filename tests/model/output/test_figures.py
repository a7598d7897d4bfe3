"""The sheet has a cell for each word, and says how its maps were made."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFont

from model.output.figures import (
    SEPARATOR,
    describe_settings,
    draw_contact_sheet,
    save_figure,
    wrap_text,
)
from model.wording import ALIKE_MAPS
from tests.support.tiny import draw_photo, tiny_captioner


def test_sheet_has_a_cell_a_word(tmp_path):
    captioner, photo = tiny_captioner(), draw_photo(300, 150)
    explanation = captioner.explain(photo, "a bb ccc dd extraordinarily f g")
    about = {"method": "attention", "layer": [0, 1], "head": None, "checkpoint": "x" * 40}
    sheet = draw_contact_sheet(photo, explanation, explanation.heatmaps(), about, cell_side=100)
    assert sheet.width == 10 + 5 * 110  # five columns: the photo and seven words
    cells = 10 + 2 * (50 + 24 + 10)
    assert sheet.height == cells + 15  # one line of small print
    last_cell = np.asarray(sheet)[94:144, 230:330]
    assert last_cell.std() > 5  # the eighth cell is drawn...
    assert (np.asarray(sheet)[94:168, 341:] == 255).all()  # ...and no ninth
    assert (np.asarray(sheet)[cells - 6 :] < 255).any()  # the small print is there
    one_word = captioner.explain(photo, "a")
    narrow = draw_contact_sheet(photo, one_word, one_word.heatmaps(), about, cell_side=60)
    assert narrow.height > 10 + 30 + 24 + 10 + 15  # where there is less room it takes more lines
    save_figure(sheet, tmp_path / "sheet.png", {"method": "attention", "text": "für"})
    with Image.open(tmp_path / "sheet.png") as saved:
        assert json.loads(saved.text["captionlens"]) == {"method": "attention", "text": "für"}
    assert photo.size == (300, 150)


@pytest.mark.parametrize(
    "settings, doubt, wanted",
    [
        (
            {"method": "attention", "layer": None},
            None,
            ["method: attention | layer: all | head: all"],
        ),
        (
            {
                "method": "gradient",
                "layer": [1, 2],
                "head": 3,
                "scale": "word",
                "mask_sinks": False,
            },
            None,
            ["method: gradient | layer: 1, 2 | head: 3 | scale: word"],
        ),
        (
            {"method": "occlusion", "layer": None, "mask_sinks": True, "checkpoint": "shipped"},
            ALIKE_MAPS,
            ["method: occlusion | checkpoint: shipped | sinks left out", ALIKE_MAPS],
        ),
    ],
)
def test_small_print_tells_what_was_chosen_and_no_more(settings, doubt, wanted):
    """Occlusion has no layers or heads; several layers cannot be read as one number."""
    parts = describe_settings(settings, doubt)
    lines = wrap_text(parts, SEPARATOR, 400, ImageFont.load_default(size=11))
    assert [line.replace("  ", " ") for line in lines] == wanted


def test_shared_scale(tmp_path):
    """On a shared scale a faint map glows less than a strong one; on its own as much."""
    captioner, photo = tiny_captioner(), Image.new("RGB", (100, 100), "white")
    explanation = captioner.explain(photo, "a bb")
    maps = [np.full((4, 4), 0.05, np.float32), np.full((4, 4), 0.2, np.float32)]

    def measure_cells(**settings):
        about = {"method": "attention", **settings}
        sheet = draw_contact_sheet(photo, explanation, maps, about, cell_side=100)
        pixels = np.asarray(sheet.convert("L"))
        return [pixels[30:90, x : x + 80].mean() for x in (130, 240)]

    faint, strong = measure_cells(scale="shared", colours="darken")
    assert faint < strong - 50
    assert measure_cells(scale="word", colours="darken") == [255, 255]
    glow = measure_cells(scale="word")
    assert glow[0] == glow[1] < 250
    assert measure_cells(scale="word", strength=0.5)[0] > glow[0]


def test_text_is_wrapped_between_its_parts_and_cut_where_it_must_be():
    font = ImageFont.load_default(size=11)
    text = "a dog runs https://example.org/" + "x" * 40
    for width in (30, 60, 90, 1000):
        lines = wrap_text(text.split(), " ", width, font)
        assert all(font.getlength(line) <= width for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert lines == [text]
    assert wrap_text(["wide"], " ", 1, font) == list("wide")  # a letter a line, at the least
    assert wrap_text([], " ", 10, font) == []
