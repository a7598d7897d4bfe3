"""Boxes around things, in COCO's format, and the words that name them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.errors import DataError

# What captions say -> COCO's category
SYNONYMS = {
    **dict.fromkeys(
        "man woman boy girl child kid baby toddler guy lady player skier surfer snowboarder "
        "skateboarder climber biker cyclist rider photographer astronaut people men women boys "
        "girls children kids players".split(),
        "person",
    ),
    **dict.fromkeys("puppy dogs puppies".split(), "dog"),
    **dict.fromkeys("kitten cats".split(), "cat"),
    **dict.fromkeys("bike bicycles bikes".split(), "bicycle"),
    **dict.fromkeys("motorbike".split(), "motorcycle"),
    **dict.fromkeys("ball soccer football".split(), "sports ball"),
    **dict.fromkeys("mug coffee".split(), "cup"),
}


@dataclass(frozen=True)
class Inside:
    """Which part of the patches lies in the boxes of a thing.

    patches: (rows, cols), the share of each patch's area that is inside, 0 to 1.
    """

    patches: np.ndarray

    def score(self, heatmap: np.ndarray) -> tuple[float, float]:
        """Whether the centre of the map's highest patch is inside (a patch counts when half of
        it is), and the share of the map's mass that is."""
        peak = np.unravel_index(heatmap.argmax(), heatmap.shape)
        total = float(heatmap.sum())
        mass = float((heatmap * self.patches).sum()) / total if total > 0 else 0.0
        return float(self.patches[peak] >= 0.5), mass


class Boxes:
    """The boxes of a COCO file by photo and category."""

    def __init__(self, found: dict[str, dict[str, list[Sequence[float]]]], sizes: dict[str, tuple]):
        self._found, self._sizes = found, sizes

    @classmethod
    def read(cls, path: str | Path) -> "Boxes":
        """Raises DataError for a file that is not COCO's `instances` JSON."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            images = {image["id"]: image for image in content["images"]}
            names = {category["id"]: category["name"] for category in content["categories"]}
            found: dict = defaultdict(lambda: defaultdict(list))
            for annotation in content["annotations"]:
                if annotation.get("iscrowd"):
                    continue  # a crowd's box says little about where a person is
                image = images[annotation["image_id"]]["file_name"]
                found[image][names[annotation["category_id"]]].append(annotation["bbox"])
            sizes = {i["file_name"]: (i["width"], i["height"]) for i in images.values()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not a COCO instances file ({error!r})") from None
        return cls(found, sizes)

    def __contains__(self, image: str) -> bool:
        return image in self._found

    def of(self, image: str, word: str, grid_size: tuple[int, int] = (16, 16)) -> Inside | None:
        """Where in a photo the thing is that a word names; None if it names none with a box."""
        plain = word.lower().strip(".,!?")
        category = SYNONYMS.get(plain, plain)
        boxes = self._found.get(image, {}).get(category)
        if not boxes:
            return None
        width, height = self._sizes[image]
        rows, cols = grid_size
        fine = 8  # samples a patch's side
        y = (np.arange(rows * fine) + 0.5) / (rows * fine) * height
        x = (np.arange(cols * fine) + 0.5) / (cols * fine) * width
        inside = np.zeros((rows * fine, cols * fine), dtype=bool)
        for left, top, w, h in boxes:
            inside |= ((y >= top) & (y < top + h))[:, None] & ((x >= left) & (x < left + w))
        return Inside(inside.reshape(rows, fine, cols, fine).mean(axis=(1, 3)))
