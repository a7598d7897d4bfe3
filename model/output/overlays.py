"""How a map is drawn over a photo: the one table for figures, the command line and the page.

A style says, for each of 256 heights of a map (0 to its peak), the colour that is laid over the
photo and how opaque it is, and how much colour the photo beneath keeps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.errors import OptionError

SHADE = (10, 12, 16)  # a soft black
# Inferno's corners: brighter means more in grey print and for every kind of colour vision.
INFERNO = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])
CONTOUR = (255, 255, 255, 150)  # the line at half the peak: its colour and opacity


@dataclass(frozen=True)
class OverlayStyle:
    """One way to draw maps.

    Attributes:
        label: what people choose it by.
        photo_colour: how much of its colour the photo keeps, from 0 (grey) to 1.
        table: (256, 4) uint8, red, green, blue and opacity for each height of the map.
        has_contour: whether a line is drawn at half the peak.
    """

    label: str
    photo_colour: float
    table: NDArray[np.uint8]
    has_contour: bool


def _sample_inferno(heights: NDArray[Any]) -> NDArray[Any]:
    corners = np.linspace(0, 1, len(INFERNO))
    return np.stack([np.interp(heights, corners, channel) for channel in INFERNO.T], axis=-1)


def _make_table(colours: NDArray[Any], opacity: NDArray[Any]) -> NDArray[np.uint8]:
    return np.rint(np.column_stack([colours, 255 * opacity])).astype(np.uint8)


def _make_styles() -> dict[str, OverlayStyle]:
    heights = np.linspace(0, 1, 256)
    # the square root keeps what got a quarter of the most attention half visible; without it a
    # sharp peak hides all else
    light = np.sqrt(heights)
    t = np.clip((light - 0.10) / 0.7, 0, 1)
    smooth_step = t * t * (3 - 2 * t)
    glow = _make_table(_sample_inferno(0.4 + 0.6 * heights), 0.875 * smooth_step)
    heat = _make_table(_sample_inferno(light), 0.42 + 0.21 * light)
    darken = _make_table(np.tile(SHADE, (256, 1)), 0.85 * (1 - light))
    return {
        "glow": OverlayStyle("glow on grey", 0.1, glow, True),
        "heat": OverlayStyle("heat", 1.0, heat, False),
        "darken": OverlayStyle("darken the rest", 1.0, darken, False),
    }


STYLES = _make_styles()
DEFAULT_STYLE = "glow"


def get_style(name: str) -> OverlayStyle:
    """A style by its name; raises OptionError for one that there is not."""
    if name not in STYLES:
        raise OptionError(f"there are no colours {name!r}; choose from {', '.join(STYLES)}")
    return STYLES[name]


def draw_overlay(
    photo: Image.Image,
    heatmap: NDArray[Any],
    peak: float | None = None,
    style: str = DEFAULT_STYLE,
    strength: float = 1.0,
) -> Image.Image:
    """The photo with a map over it.

    heatmap: (rows, cols), >= 0, stretched over the whole photo in the photo's own aspect ratio.
    peak: the value at the top of the table; the map's own largest if None. Give one value to
        several maps to make them comparable.
    style: of `STYLES`.
    strength: what the opacity is multiplied by, from 0 to 1.

    Raises OptionError for a style that there is not.
    """
    chosen = get_style(style)
    photo = photo.convert("RGB")
    peak = float(heatmap.max()) if peak is None else peak
    scaled = np.clip(heatmap / peak, 0, 1) if peak > 0 else np.zeros_like(heatmap)
    small = Image.fromarray(scaled.astype(np.float32))
    heights = np.clip(np.asarray(small.resize(photo.size, Image.Resampling.BICUBIC)), 0, 1)
    layer = chosen.table[np.rint(255 * heights).astype(int)]  # (height, width, 4)
    if chosen.has_contour:
        layer[_find_contour(heights >= 0.5)] = CONTOUR
    layer[..., 3] = np.rint(layer[..., 3] * strength)
    overlay = Image.fromarray(layer)
    grey = photo.convert("L").convert("RGB")
    return Image.composite(
        overlay.convert("RGB"),
        Image.blend(grey, photo, chosen.photo_colour),
        overlay.getchannel("A"),
    )


def _find_contour(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels inside that have a neighbour to the right or below outside, or the other way."""
    edge = np.zeros_like(inside)
    edge[:, :-1] |= inside[:, :-1] != inside[:, 1:]
    edge[:-1] |= inside[:-1] != inside[1:]
    return edge
