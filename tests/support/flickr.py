"""Flickr8k's own layout, with drawn photos."""

from pathlib import Path

from tests.support.tiny import draw_photo

NAMES = [f"{i}.jpg" for i in range(6)]
COLOURS = [(i * 50, 255 - i * 50, 90) for i in range(6)]


def write_flickr8k(folder: Path) -> None:
    """Four train photos and two dev photos, two captions each."""
    (folder / "images").mkdir()
    for name, colour in zip(NAMES, COLOURS, strict=True):
        draw_photo(60, 60, colour).save(folder / "images" / name)
    lines = [f"{n}#{k}\ta dog number {n[0]} runs left {k} ." for n in NAMES for k in (0, 1)]
    (folder / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (folder / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[:4]) + "\n")
    (folder / "Flickr_8k.devImages.txt").write_text("\n".join(NAMES[4:]))
