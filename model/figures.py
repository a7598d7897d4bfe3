"""Pictures of the maps: a photo darkened where a word did not look, and a sheet of all words.

Darkening reads on any photo, in grey print and for every kind of colour vision.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from model.captioner import Explanation

SHADE = (10, 12, 16)  # a soft black
DARKEST = 0.85  # how far a patch that was not looked at goes towards it


def overlay(photo: Image.Image, heatmap: np.ndarray, peak: float | None = None) -> Image.Image:
    """The photo, dark where the map is low.

    heatmap: (rows, cols), >= 0, stretched over the whole photo in the photo's own aspect ratio.
    peak: the value that leaves the photo untouched; the map's own largest if None. Give one
        value to several maps to make them comparable.
    """
    peak = float(heatmap.max()) if peak is None else peak
    # The square root keeps what got a quarter of the most attention half visible; without it a
    # sharp peak hides all else.
    light = np.sqrt(np.clip(heatmap / peak, 0, 1)) if peak > 0 else np.zeros_like(heatmap)
    shade = Image.fromarray(np.uint8(np.rint(255 * DARKEST * (1 - light))))
    mask = shade.resize(photo.size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", photo.size, SHADE), photo, mask)


def contact_sheet(
    photo: Image.Image, explanation: Explanation, method: str | None = None, side: int = 224
) -> Image.Image:
    """The photo, then one overlay a word with the word and its probability beneath.

    side: pixels of a cell's longer side.
    """
    photo = photo.copy()
    photo.thumbnail((side, side))
    cells = [(photo, "photo")]
    for i, word in enumerate(explanation.words):
        drawn = overlay(photo, explanation.heatmap(i, method))
        cells.append((drawn, f"{word.text}  {word.probability:.0%}"))
    columns = min(5, len(cells))
    gap, text_height = 10, 24
    width, height = photo.width + gap, photo.height + text_height + gap
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for i, (picture, text) in enumerate(cells):
        x, y = gap + i % columns * width, gap + i // columns * height
        sheet.paste(picture, (x, y))
        while draw.textlength(text, font) > photo.width and len(text) > 2:
            text = text[:-2] + "…"  # a long word gives way to the grid
        draw.text((x, y + photo.height + 3), text, "black", font)
    return sheet


def save_figure(sheet: Image.Image, path: str | Path, settings: dict) -> None:
    """Write a PNG that carries what it was made with in its metadata (key "captionlens")."""
    information = PngInfo()
    information.add_itxt("captionlens", json.dumps(settings, ensure_ascii=False))
    sheet.save(path, format="PNG", pnginfo=information)
