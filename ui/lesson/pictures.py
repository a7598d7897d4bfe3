"""The lesson's pictures as HTML: bars of numbers, maps over the photo, the triangle of words.

Every picture carries its message in shape or in numbers too, never in colour alone.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from model.images import fit_photo
from model.output.overlays import SHADE, draw_overlay
from ui.templates import get_macros
from ui.uploads.photos import to_data_url

GLOW = (255, 190, 120)  # the highest score; the lowest is SHADE
SMALL_SIDE = 112  # pixels of a small map's longer side
_HTML = get_macros("lesson/pictures.html")


def format_number(x: float, digits: int = 2) -> str:
    """A number with a real minus sign."""
    return f"{x:.{digits}f}".replace("-", "−")


def format_tiny(x: float) -> str:
    """The first digit that is not 0, with all the zeros before it."""
    return np.format_float_positional(x, precision=1, fractional=False, trim="-")


def format_first(numbers: np.ndarray, count: int = 4) -> str:
    """The first numbers of a vector, and how many more there are."""
    first = ", ".join(format_number(x) for x in numbers[:count])
    rest = len(numbers) - count
    return f"({first}, … and {rest} more)" if rest > 0 else f"({first})"


def draw_bars(numbers: np.ndarray, caption: str) -> Markup:
    """A vector as bars, up where positive and down where negative, the longest filling the
    height."""
    scale = 24 / max(float(np.abs(numbers).max()), 1e-9)
    rects = [
        {
            "kind": "up" if x > 0 else "down",
            "x": 10 * i + 1,
            "y": 25 - max(x, 0) * scale,
            "height": abs(x) * scale,
        }
        for i, x in enumerate(numbers)
    ]
    lowest, highest = format_number(numbers.min()), format_number(numbers.max())
    label = f"{len(numbers)} numbers from {lowest} to {highest}"
    return _HTML.bars(rects, 10 * len(numbers), caption, label)


def draw_score_map(photo: Image.Image, scores: np.ndarray, caption: str) -> Markup:
    """Scores (rows, cols) as a grid of the photo's shape, with a legend and the best framed."""
    low, high = float(scores.min()), float(scores.max())
    heights = (scores - low) / max(high - low, 1e-9)
    colours = np.array(SHADE) + heights[..., None] * (np.array(GLOW) - np.array(SHADE))
    grid = Image.fromarray(np.uint8(np.rint(colours)))
    grid = _frame_largest(grid.resize(photo.size, Image.Resampling.NEAREST), scores)
    alt = f"The patches as a grid, brighter for higher scores. {_describe_largest(scores)}"
    legend = {
        "low": format_number(low),
        "high": format_number(high),
        "low_colour": SHADE,
        "high_colour": GLOW,
    }
    return _HTML.map(to_data_url(grid), alt, caption, legend)


def draw_share_map(photo: Image.Image, shares: np.ndarray, caption: str) -> Markup:
    """Shares (rows, cols) over the photo, the largest framed."""
    picture = _frame_largest(draw_overlay(photo, shares), shares)
    alt = f"The photo in grey, glowing where the word looked. {_describe_largest(shares)}"
    return _HTML.map(to_data_url(picture), alt, caption)


def draw_head_maps(photo: Image.Image, maps: np.ndarray, chosen_head: int) -> Markup:
    """The maps (heads, rows, cols) of all heads in a row; the chosen one is named and framed."""
    photo = fit_photo(photo, SMALL_SIDE)
    pictures = [
        {"image": to_data_url(draw_overlay(photo, shares)), "alt": _describe_largest(shares)}
        for shares in maps
    ]
    return _HTML.head_maps(pictures, chosen_head)


def draw_share_list(names: Sequence[str], shares: np.ndarray) -> Markup:
    """One row a name with its share as a bar and as a number."""
    numbers = [format_number(share, 3) for share in shares]
    return _HTML.share_list(list(zip(names, shares, numbers, strict=True)))


def draw_triangle(weights: np.ndarray, caption: str) -> Markup:
    """Self-attention's weights (T, T) as a grid; what is hidden is left out."""
    return _HTML.triangle(weights, caption)


def draw_grid(row_names: Sequence[str], column_names: Sequence[str], weights: np.ndarray) -> Markup:
    """Weights (rows, columns) as squares whose areas are the shares, under the columns' names."""
    sides = np.sqrt(weights)
    rows = list(zip(row_names, sides, strict=True))
    strongest = [
        f"“{name}” at “{column_names[shares.argmax()]}” {format_number(shares.max())}"
        for name, shares in zip(row_names, weights, strict=True)
    ]
    return _HTML.grid(column_names, rows, "Each row's largest: " + ", ".join(strongest))


def find_largest(grid: np.ndarray) -> tuple[int, int]:
    """Row and column of the largest, from 0 at the top left."""
    row, col = np.unravel_index(grid.argmax(), grid.shape)
    return int(row), int(col)


def _describe_largest(grid: np.ndarray) -> str:
    row, col = find_largest(grid)
    return f"Highest at row {row}, column {col}."


def _frame_largest(picture: Image.Image, grid: np.ndarray) -> Image.Image:
    """A copy with a frame around the largest patch, black and white to be seen on anything."""
    picture = picture.copy()
    (row, col), (rows, cols) = find_largest(grid), grid.shape
    left, top = round(col * picture.width / cols), round(row * picture.height / rows)
    right = round((col + 1) * picture.width / cols)
    bottom = round((row + 1) * picture.height / rows)
    draw = ImageDraw.Draw(picture)
    for margin, colour, width in ((3, "black", 5), (2, "white", 2)):
        box = [left - margin, top - margin, right + margin, bottom + margin]
        draw.rectangle(box, outline=colour, width=width)
    return picture
