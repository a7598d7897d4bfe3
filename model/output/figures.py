"""Sheets of maps: a picture for each word of a sentence, and captioners side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from model.explain.explanation import Explanation, describe_alike_maps
from model.explain.methods import METHODS
from model.images import fit_photo
from model.output.comparison import ComparedCaption, choose_words
from model.output.overlays import DEFAULT_STYLE, draw_overlay
from model.search.caption import CaptionWord

SCALES = ("word", "shared")
SEPARATOR = "  |  "  # between the parts of the small print


def draw_contact_sheet(
    photo: Image.Image,
    explanation: Explanation,
    maps: Sequence[NDArray[Any]],
    settings: Mapping[str, Any],
    cell_side: int = 224,
) -> Image.Image:
    """The photo, one overlay a word with the word and its probability beneath, and the settings.

    maps: of the words, from `Explanation.heatmaps`.
    settings: for the small print; needs `method`. `scale` "word" gives each map its own peak,
        "shared" that of all maps; `colours` and `strength` as `draw_overlay` has them.
    cell_side: pixels of a cell's longer side.
    """
    photo = fit_photo(photo, cell_side)
    peak = max(float(m.max()) for m in maps) if settings.get("scale") == "shared" else None
    cells = [_Cell(photo, "photo")]
    for word, heatmap in zip(explanation.words, maps, strict=True):
        cells.append(_draw_word_cell(photo, word, heatmap, peak, settings))
    small_print = describe_settings(settings, describe_alike_maps(maps))
    return _draw_sheet([_CellGroup("", cells)], min(5, len(cells)), small_print)


def draw_comparison_sheet(
    photo: Image.Image,
    captions: Sequence[ComparedCaption],
    settings: Mapping[str, Any],
    cell_side: int = 224,
) -> Image.Image:
    """A row for each captioner: its caption, and where the words looked that all of them say.

    settings: for the small print; needs `method`.
    cell_side: pixels of a cell's longer side.
    """
    photo = fit_photo(photo, cell_side)
    chosen_words = choose_words(captions)
    rows = []
    for caption, indices in zip(captions, chosen_words.indices, strict=True):
        words, maps = caption.explanation.words, caption.maps
        cells = [
            _Cell(photo, "photo"),
            *(_draw_word_cell(photo, words[i], maps[i], None, settings) for i in indices),
        ]
        heading = f"{caption.name}: {caption.explanation.text}  ({caption.summary()})"
        rows.append(_CellGroup(heading, cells))
    columns = max(3, 1 + len(chosen_words.indices[0]))  # so that there is room for the captions
    small_print = describe_settings(settings, f"shown: {chosen_words.description}")
    return _draw_sheet(rows, columns, small_print)


class _Cell(NamedTuple):
    """A picture with a line of text beneath it."""

    picture: Image.Image
    text: str


class _CellGroup(NamedTuple):
    """Cells under a heading; all pictures are of one size."""

    heading: str
    cells: Sequence[_Cell]


def _draw_word_cell(
    photo: Image.Image,
    word: CaptionWord,
    heatmap: NDArray[Any],
    peak: float | None,
    settings: Mapping[str, Any],
) -> _Cell:
    # a word that the user typed may be as good as impossible, but not impossible
    probability = f"{word.probability:.0%}" if word.probability >= 0.005 else "<1%"
    style, strength = settings.get("colours", DEFAULT_STYLE), settings.get("strength", 1.0)
    picture = draw_overlay(photo, heatmap, peak, style, strength)
    return _Cell(picture, f"{word.text}  {probability}")


def _draw_sheet(
    groups: Sequence[_CellGroup], columns: int, small_print: Sequence[str]
) -> Image.Image:
    """Groups of cells on white, each under its heading, and the small print beneath all."""
    picture_width, picture_height = groups[0].cells[0].picture.size
    gap, text_height, heading_height, print_height = 10, 24, 19, 15
    font, small_font = _load_font(15), _load_font(11)
    width = columns * (picture_width + gap) + gap
    row_height = picture_height + text_height + gap
    headings = [wrap_text(group.heading.split(), " ", width - 2 * gap, font) for group in groups]
    group_heights = [-(-len(group.cells) // columns) * row_height for group in groups]
    print_lines = wrap_text(small_print, SEPARATOR, width - 2 * gap, small_font)
    headings_height = heading_height * sum(map(len, headings))
    height = headings_height + sum(group_heights) + gap + print_height * len(print_lines)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = gap
    for group, heading, group_height in zip(groups, headings, group_heights, strict=True):
        for line in heading:
            draw.text((gap, top - 3), line, "black", font)
            top += heading_height
        for i, (picture, text) in enumerate(group.cells):
            x, y = gap + i % columns * (picture_width + gap), top + i // columns * row_height
            sheet.paste(picture, (x, y))
            text = _shorten(text, picture_width, font)
            draw.text((x, y + picture_height + 3), text, "black", font)
        top += group_height
    for i, line in enumerate(print_lines):
        draw.text((gap, top - 6 + print_height * i), line, (90, 90, 90), small_font)
    return sheet


def describe_settings(settings: Mapping[str, Any], remark: str | None) -> list[str]:
    """The parts of the small print: how the maps were made, and a remark on them."""

    def describe(selection: object) -> str:
        numbers = selection if isinstance(selection, (list, tuple)) else [selection]
        return "all" if selection is None else ", ".join(map(str, numbers))

    parts = [f"method: {settings['method']}"]
    if METHODS[settings["method"]].has_layers:
        parts += [f"{name}: {describe(settings.get(name))}" for name in ("layer", "head")]
    parts += [f"{name}: {settings[name]}" for name in ("scale", "checkpoint") if name in settings]
    if settings.get("mask_sinks"):
        parts.append("sinks left out")
    return [*parts, remark] if remark else parts


def wrap_text(
    parts: Sequence[str], separator: str, width: int, font: ImageFont.FreeTypeFont
) -> list[str]:
    """The parts, joined, in lines of at most `width` pixels.

    Lines break between parts; a part that is longer than a line is cut where it must be.
    """
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{separator}{part}" if lines else part
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        while font.getlength(part) > width and len(part) > 1:
            end = len(part) - 1
            while end > 1 and font.getlength(part[:end]) > width:
                end -= 1
            lines.append(part[:end])
            part = part[end:]
        lines.append(part)
    return lines


def _load_font(size: int) -> ImageFont.FreeTypeFont:
    # where a size is asked for, Pillow gives the font that has sizes
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))


def _shorten(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    while font.getlength(text) > width and len(text) > 2:
        text = text[:-2] + "…"
    return text


def save_figure(
    figure: Image.Image, path: str | Path | BinaryIO, settings: Mapping[str, Any]
) -> None:
    """Write a PNG with the settings, as JSON, in its metadata (key "captionlens")."""
    information = PngInfo()
    information.add_itxt("captionlens", json.dumps(dict(settings), ensure_ascii=False))
    figure.save(path, format="PNG", pnginfo=information)
