"""A contact sheet of captioned photos: some of each split, with their captions."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.images import fit_photo, load_image
from model.output.figures import wrap_text
from training.data import SPLITS, CaptionedImage

GAP, LINE_HEIGHT = 12, 16  # pixels
MAX_CAPTION = 500  # characters of a caption that are drawn
MAX_LINES = 12  # beneath a photo, its name the first
NAME_COLOUR = (90, 90, 90)

Line = tuple[str, str | tuple[int, int, int], ImageFont.FreeTypeFont]  # text, colour, font


def draw_photo_sheet(
    items: Sequence[CaptionedImage], columns: int = 4, side: int = 224
) -> Image.Image:
    """A row of photos per split, spread evenly over it, with their names and captions beneath.

    items: photos that can be read. side: pixels of a photo's longer side.
    """
    font, small_font = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
    rows = []
    for split in SPLITS:
        photos = [item for item in items if item.split == split]
        spread = np.linspace(0, len(photos) - 1, min(columns, len(photos))).astype(int)
        cells = [_make_cell(photos[index], side, font, small_font) for index in spread]
        if cells:
            height = max(photo.height + len(lines) * LINE_HEIGHT for photo, lines in cells)
            heading = f"{split}, {len(photos):,} photos"
            rows.append((heading, cells, height + 2 * LINE_HEIGHT + GAP))
    total_height = sum(height for _, _, height in rows)
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, total_height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for heading, cells, height in rows:
        draw.text((GAP, top), heading, "black", font)
        for column, (photo, lines) in enumerate(cells):
            x, y = GAP + column * (side + GAP), top + LINE_HEIGHT + 4
            sheet.paste(photo, (x, y))
            for n, (text, colour, line_font) in enumerate(lines):
                position = (x, y + photo.height + 2 + n * LINE_HEIGHT)
                draw.text(position, text, colour, line_font)
        top += height
    return sheet


def _make_cell(item: CaptionedImage, side: int, font, small_font) -> tuple[Image.Image, list[Line]]:
    """A photo, and the lines beneath it: its name and as many captions as there is room for."""
    lines: list[Line] = [(wrap_text([item.name], "", side, small_font)[0], NAME_COLOUR, small_font)]
    for caption in item.captions:
        wrapped = wrap_text(["·", *caption[:MAX_CAPTION].split()], " ", side, font)
        if len(lines) + len(wrapped) <= MAX_LINES or len(lines) == 1:
            lines += [(text, "black", font) for text in wrapped]
    return fit_photo(load_image(item.path), side), lines[:MAX_LINES]
