"""`python -m tools.map_visibility`: whether the maps can be seen, and the photo beneath them.

For each example photo, over the words of its caption and with the default colours: the brightness
of the picture as a part of the photo's, and the colour difference (CIE76) between the
strongest eighth of the map and its lower half.
"""

import numpy as np
from PIL import Image, ImageCms

from model import Captioner, load
from model.images import find_images, fit_photo, load_image
from model.output.overlays import draw_overlay
from tools.serving import ROOT

SIDE = 384  # pixels of the longer side of a picture that is measured
TO_LAB = ImageCms.buildTransform(
    ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
)


def measure_visibility(captioner: Captioner, photo: Image.Image) -> tuple[float, float]:
    """The means over all words of the caption: brightness, and colour difference (ΔE)."""
    explanation = captioner.explain(photo, captioner.caption(photo))
    photo = fit_photo(photo, SIDE)
    light = np.asarray(photo.convert("L")).mean()
    brightness, differences = [], []
    for heatmap in explanation.heatmaps():
        picture = draw_overlay(photo, heatmap)
        brightness.append(np.asarray(picture.convert("L")).mean() / light)
        heights = np.asarray(Image.fromarray(heatmap).resize(photo.size, Image.Resampling.BICUBIC))
        colours = convert_to_lab(picture)
        strongest = colours[heights >= np.quantile(heights, 7 / 8)].mean(axis=0)
        lower_half = colours[heights <= np.quantile(heights, 1 / 2)].mean(axis=0)
        differences.append(np.linalg.norm(strongest - lower_half))
    return float(np.mean(brightness)), float(np.mean(differences))


def convert_to_lab(picture: Image.Image) -> np.ndarray:
    """L, a and b of each pixel, (height, width, 3); Pillow keeps L in 255ths, a and b from 128."""
    lab = ImageCms.applyTransform(picture, TO_LAB)
    lightness, a, b = (np.asarray(channel) for channel in lab.split())
    signed = [channel.astype(float) - 128 for channel in (a, b)]
    return np.stack([lightness * (100 / 255), *signed], axis=-1)


def main() -> None:
    captioner = load()
    for path in find_images(ROOT / "assets" / "examples"):
        brightness, difference = measure_visibility(captioner, load_image(path))
        print(f"{path.name:20} brightness {brightness:.2f}  difference {difference:.0f}")


if __name__ == "__main__":
    main()
