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

from model.explain.explanation import Explanation, same_for_all
from model.explain.methods import METHODS
from model.images import fit
from model.output.comparison import Side, words_to_show
from model.search.caption import CaptionWord

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
        cells.append(_cell(photo, word, heatmap, peak))
    return _sheet([("", cells)], min(5, len(cells)), print_parts(settings, same_for_all(maps)))


def comparison_sheet(
    photo: Image.Image, sides: Sequence[Side], settings: Mapping[str, Any], side: int = 224
) -> Image.Image:
    """A row for each captioner: its caption, and where the words looked that all of them say.

    settings: for the small print; needs `method`.
    side: pixels of a cell's longer side.
    """
    photo = fit(photo, side)
    places, what = words_to_show(sides)
    rows = []
    for one, chosen in zip(sides, places, strict=True):
        cells = [(photo, "photo")]
        cells += [_cell(photo, one.explanation.words[i], one.maps[i]) for i in chosen]
        rows.append((f"{one.name}: {one.explanation.text}  ({one.told()})", cells))
    columns = max(3, 1 + len(places[0]))  # so that there is room for the captions
    return _sheet(rows, columns, print_parts(settings, f"shown: {what}"))


def _cell(
    photo: Image.Image, word: CaptionWord, heatmap: np.ndarray, peak: float | None = None
) -> tuple[Image.Image, str]:
    # a word that the user typed may be as good as impossible, but not impossible
    likely = f"{word.probability:.0%}" if word.probability >= 0.005 else "<1%"
    return overlay(photo, heatmap, peak), f"{word.text}  {likely}"


def _sheet(
    groups: Sequence[tuple[str, Sequence[tuple[Image.Image, str]]]],
    columns: int,
    small_print: Sequence[str],
) -> Image.Image:
    """Groups of cells (a picture, all of one size, and its text) on white, each group under its
    heading, and the small print."""
    cell = groups[0][1][0][0].size
    gap, text_height, line_height = 10, 24, 19
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=11)
    width = columns * (cell[0] + gap) + gap
    cell_height = cell[1] + text_height + gap
    headings = [wrap(text.split(), " ", width - 2 * gap, font) for text, _ in groups]
    tall = [-(-len(cells) // columns) * cell_height for _, cells in groups]
    print_lines = wrap(small_print, "  |  ", width - 2 * gap, small)
    height = sum(tall) + line_height * sum(map(len, headings)) + gap + 15 * len(print_lines)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = gap
    for heading, (_, cells), taken in zip(headings, groups, tall, strict=True):
        for line in heading:
            draw.text((gap, top - 3), line, "black", font)
            top += line_height
        for i, (picture, text) in enumerate(cells):
            x, y = gap + i % columns * (cell[0] + gap), top + i // columns * cell_height
            sheet.paste(picture, (x, y))
            while draw.textlength(text, font) > cell[0] and len(text) > 2:
                text = text[:-2] + "…"  # a long word gives way to the grid
            draw.text((x, y + cell[1] + 3), text, "black", font)
        top += taken
    for i, line in enumerate(print_lines):
        draw.text((gap, top - 6 + 15 * i), line, (90, 90, 90), small)
    return sheet


def print_parts(settings: Mapping[str, Any], remark: str | None) -> list[str]:
    """What the maps were made with, and what is to be said of them."""

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
    return [*parts, remark] if remark else parts


def wrap(parts: Sequence[str], between: str, width: int, font) -> list[str]:
    """The parts in lines that fit; none is broken."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if not lines or font.getlength(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines


def save_figure(sheet: Image.Image, path: str | Path | BinaryIO, settings: dict) -> None:
    """Write a PNG that carries what it was made with in its metadata (key "captionlens")."""
    information = PngInfo()
    information.add_itxt("captionlens", json.dumps(settings, ensure_ascii=False))
    sheet.save(path, format="PNG", pnginfo=information)
