"""The lesson's pictures as HTML: bars of numbers, maps over the photo, the triangle of words.

Every picture carries its message in shape or in numbers too, never in colour alone.
"""

import html
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from model.images import fit
from model.output.figures import SHADE, overlay
from ui.uploads.photos import data_url

GLOW = (255, 190, 120)  # the highest score; the lowest is SHADE
SMALL_SIDE = 112  # pixels of a small map's longer side


def number(x: float, digits: int = 2) -> str:
    """A number with a real minus sign."""
    return f"{x:.{digits}f}".replace("-", "−")


def tiny(x: float) -> str:
    """The first digit that is not 0, with all the zeros before it."""
    return np.format_float_positional(x, precision=1, fractional=False, trim="-")


def first_few(numbers: np.ndarray, count: int = 4) -> str:
    """The first numbers of a vector, and how many more there are."""
    shown = ", ".join(number(x) for x in numbers[:count])
    rest = len(numbers) - count
    return f"({shown}, … and {rest} more)" if rest > 0 else f"({shown})"


def bars(numbers: np.ndarray, name: str) -> str:
    """A vector as bars, up where positive and down where negative, the longest filling the height.

    name: HTML, shown above.
    """
    height = 24 / max(float(np.abs(numbers).max()), 1e-9)
    drawn = "".join(
        f'<rect class="lesson-{"up" if x > 0 else "down"}" x="{10 * i + 1}" width="8" '
        f'y="{25 - max(x, 0) * height:.1f}" height="{abs(x) * height:.1f}"/>'
        for i, x in enumerate(numbers)
    )
    width = 10 * len(numbers)
    told = f"{len(numbers)} numbers from {number(numbers.min())} to {number(numbers.max())}"
    return (
        f'<figure class="lesson-bars"><figcaption>{name}</figcaption>'
        f'<svg viewBox="0 0 {width} 50" preserveAspectRatio="none" role="img" aria-label="{told}">'
        f'<line x1="0" x2="{width}" y1="25" y2="25"/>{drawn}</svg></figure>'
    )


def score_map(photo: Image.Image, scores: np.ndarray, about: str) -> str:
    """Scores (rows, cols) as a grid of the photo's shape, with a legend and the best framed.

    about: HTML, the caption.
    """
    low, high = float(scores.min()), float(scores.max())
    share = (scores - low) / max(high - low, 1e-9)
    colours = np.array(SHADE) + share[..., None] * (np.array(GLOW) - np.array(SHADE))
    grid = Image.fromarray(np.uint8(np.rint(colours)))
    grid = _framed(grid.resize(photo.size, Image.Resampling.NEAREST), scores)
    legend = (
        f'<p class="lesson-legend"><span>{number(low)}</span>'
        f'<i style="background: linear-gradient(90deg, rgb{SHADE}, rgb{GLOW})"></i>'
        f"<span>{number(high)}</span></p>"
    )
    alt = f"The patches as a grid, brighter for higher scores. {_where(scores)}"
    return _figure(grid, alt, about, legend)


def share_map(photo: Image.Image, shares: np.ndarray, about: str) -> str:
    """Shares (rows, cols) over the photo, the largest framed. about: HTML, the caption."""
    alt = f"The photo, dark where the word did not look. {_where(shares)}"
    return _figure(_framed(overlay(photo, shares), shares), alt, about)


def small_maps(photo: Image.Image, maps: np.ndarray, chosen: int) -> str:
    """The maps (heads, rows, cols) of all heads in a row; the chosen one is named and framed."""
    photo = fit(photo, SMALL_SIDE)
    figures = []
    for head, shares in enumerate(maps):
        name = f"head {head}, chosen" if head == chosen else f"head {head}"
        figures.append(
            f'<figure class="{"lesson-chosen" if head == chosen else ""}">'
            f'<img src="{data_url(overlay(photo, shares))}" alt="{_where(shares)}">'
            f"<figcaption>{name}</figcaption></figure>"
        )
    return f'<div class="lesson-heads">{"".join(figures)}</div>'


def share_list(names: Sequence[str], shares: np.ndarray) -> str:
    """One row a name (text) with its share as a bar and as a number."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        f'<td class="lesson-meter"><i style="width: {100 * share:.1f}%"></i></td>'
        f"<td>{number(share, 3)}</td></tr>"
        for name, share in zip(names, shares, strict=True)
    )
    return f'<table class="lesson-shares">{rows}</table>'


def triangle(shares: np.ndarray, about: str) -> str:
    """Self-attention's weights (T, T) as a grid; what is hidden is left out. about: HTML."""
    cells = "".join(
        f'<rect class="lesson-cell" x="{10 * s}" y="{10 * t}" width="10" height="10"/>'
        f'<rect class="lesson-up" x="{10 * s + 1}" y="{10 * t + 1}" width="8" height="8" '
        f'opacity="{shares[t, s]:.2f}"/>'
        for t in range(len(shares))
        for s in range(t + 1)
    )
    side = 10 * len(shares)
    return (
        '<figure class="lesson-triangle">'
        f'<svg viewBox="-1 -1 {side + 2} {side + 2}" style="max-width: {3 * side}px" role="img" '
        f'aria-label="A triangle: {len(shares)} rows, each one square longer than the one above.">'
        f"{cells}</svg><figcaption>{about}</figcaption></figure>"
    )


def place(grid: np.ndarray) -> tuple[int, int]:
    """Row and column of the largest, from 0 at the top left."""
    row, col = np.unravel_index(grid.argmax(), grid.shape)
    return int(row), int(col)


def _where(grid: np.ndarray) -> str:
    return "Highest at row {}, column {}.".format(*place(grid))


def _figure(picture: Image.Image, alt: str, about: str, below: str = "") -> str:
    return (
        f'<figure><img src="{data_url(picture)}" alt="{alt}">{below}'
        f"<figcaption>{about}</figcaption></figure>"
    )


def _framed(picture: Image.Image, grid: np.ndarray) -> Image.Image:
    """A copy with a frame around the largest patch, black and white to be seen on anything."""
    picture = picture.copy()
    (row, col), (rows, cols) = place(grid), grid.shape
    box = [
        round(col * picture.width / cols),
        round(row * picture.height / rows),
        round((col + 1) * picture.width / cols),
        round((row + 1) * picture.height / rows),
    ]
    draw = ImageDraw.Draw(picture)
    draw.rectangle([box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3], outline="black", width=5)
    draw.rectangle([box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2], outline="white", width=2)
    return picture
