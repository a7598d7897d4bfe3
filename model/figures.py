"""Pictures of the maps: a photo darkened where a word did not look, and a sheet of all words.

Darkening reads on any photo, in grey print and for every kind of colour vision.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from model.attention_maps import METHODS
from model.explanation import Explanation, same_for_all
from model.images import fit

SHADE = (10, 12, 16)  # a soft black
SCALES = ("word", "shared")
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
    photo: Image.Image,
    explanation: Explanation,
    maps: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    side: int = 224,
) -> Image.Image:
    """The photo, one overlay a word with the word and its probability beneath, and the settings.

    maps: of the words, from `Explanation.heatmaps`.
    settings: for the small print; needs `method`. `scale` "word" makes the brightest patch of
        each map as bright as the photo, "shared" that of all maps.
    side: pixels of a cell's longer side.
    """
    photo = fit(photo, side)
    peak = max(float(m.max()) for m in maps) if settings.get("scale") == "shared" else None
    cells = [(photo, "photo")]
    for word, heatmap in zip(explanation.words, maps, strict=True):
        # a word that the user typed may be as good as impossible, but not impossible
        likely = f"{word.probability:.0%}" if word.probability >= 0.005 else "<1%"
        cells.append((overlay(photo, heatmap, peak), f"{word.text}  {likely}"))
    columns = min(5, len(cells))
    gap, text_height = 10, 24
    cell_width, cell_height = photo.width + gap, photo.height + text_height + gap
    rows = -(-len(cells) // columns)
    width = columns * cell_width + gap
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=11)
    print_lines = small_print(settings, same_for_all(maps), width - 2 * gap, small)
    sheet = Image.new("RGB", (width, rows * cell_height + gap + 15 * len(print_lines)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, text) in enumerate(cells):
        x, y = gap + i % columns * cell_width, gap + i // columns * cell_height
        sheet.paste(picture, (x, y))
        while draw.textlength(text, font) > photo.width and len(text) > 2:
            text = text[:-2] + "…"  # a long word gives way to the grid
        draw.text((x, y + photo.height + 3), text, "black", font)
    for i, line in enumerate(print_lines):
        draw.text((gap, rows * cell_height + 4 + 15 * i), line, (90, 90, 90), small)
    return sheet


def small_print(settings: Mapping[str, Any], doubt: str | None, width: int, font) -> list[str]:
    """What the maps were made with, and why not to believe them, in lines that fit."""

    def told(name: str) -> str:
        value = settings.get(name)
        chosen = value if isinstance(value, (list, tuple)) else [value]
        return "all" if value is None else ", ".join(str(v) for v in chosen)

    parts = [f"method: {settings['method']}"]
    if METHODS[settings["method"]].has_layers:
        parts += [f"{name}: {told(name)}" for name in ("layer", "head")]
    parts += [f"{name}: {settings[name]}" for name in ("scale", "checkpoint") if name in settings]
    if settings.get("mask_sinks"):
        parts.append("sinks left out")
    if doubt:
        parts.append(doubt)
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]}  |  {part}" if lines[-1] else part
        if lines[-1] and font.getlength(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines


def save_figure(sheet: Image.Image, path: str | Path | BinaryIO, settings: dict) -> None:
    """Write a PNG that carries what it was made with in its metadata (key "captionlens")."""
    information = PngInfo()
    information.add_itxt("captionlens", json.dumps(settings, ensure_ascii=False))
    sheet.save(path, format="PNG", pnginfo=information)
