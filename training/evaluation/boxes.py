"""Boxes around objects, in COCO's format, and the words that name these."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.corpora.text import read_json, report_wrong_shape

SAMPLES_PER_SIDE = 8  # points of a patch that are tested for being in a box
# Word of a caption -> COCO's category
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
class BoxCoverage:
    """How much of each patch lies in the boxes of an object.

    patches: (rows, cols), the fraction of each patch's area that is inside, 0 to 1.
    """

    patches: np.ndarray

    def score(self, heatmap: np.ndarray) -> tuple[float, float]:
        """Whether the centre of the map's highest patch is inside (at least half of the patch is),
        and the fraction of the map's mass that is."""
        peak = np.unravel_index(heatmap.argmax(), heatmap.shape)
        total = float(heatmap.sum())
        mass = float((heatmap * self.patches).sum()) / total if total > 0 else 0.0
        return float(self.patches[peak] >= 0.5), mass


class Boxes:
    """The boxes of a COCO file by photo and category.

    Args:
        boxes: file name -> category -> boxes (left, top, width, height) in pixels.
        sizes: file name -> (width, height) of the photo in pixels.
    """

    def __init__(
        self,
        boxes: dict[str, dict[str, list[Sequence[float]]]],
        sizes: dict[str, tuple[float, float]],
    ):
        self._boxes, self._sizes = boxes, sizes

    @classmethod
    def load(cls, path: str | Path) -> "Boxes":
        """Read a file; raises DataError for one that is not COCO's `instances` JSON."""
        content = read_json(Path(path))
        with report_wrong_shape(Path(path), "a COCO instances file"):
            images = {image["id"]: image for image in content["images"]}
            categories = {category["id"]: category["name"] for category in content["categories"]}
            boxes: dict = defaultdict(lambda: defaultdict(list))
            for annotation in content["annotations"]:
                if annotation.get("iscrowd"):
                    continue  # a crowd's box says little about where a person is
                image = images[annotation["image_id"]]["file_name"]
                left, top, width, height = map(float, annotation["bbox"])
                box = (left, top, width, height)
                boxes[image][categories[annotation["category_id"]]].append(box)
            sizes = {
                i["file_name"]: (float(i["width"]), float(i["height"])) for i in images.values()
            }
        return cls(boxes, sizes)

    def __contains__(self, image: str) -> bool:
        return image in self._boxes

    def locate(
        self, image: str, word: str, grid_size: tuple[int, int] = (16, 16)
    ) -> BoxCoverage | None:
        """Where in a photo the object is that a word names; None if it names none with a box."""
        name = word.lower().strip(".,!?")
        boxes = self._boxes.get(image, {}).get(SYNONYMS.get(name, name))
        if not boxes:
            return None
        width, height = self._sizes[image]
        rows, cols = grid_size
        samples = SAMPLES_PER_SIDE
        y = (np.arange(rows * samples) + 0.5) / (rows * samples) * height
        x = (np.arange(cols * samples) + 0.5) / (cols * samples) * width
        inside = np.zeros((rows * samples, cols * samples), dtype=bool)
        for left, top, w, h in boxes:
            inside |= ((y >= top) & (y < top + h))[:, None] & ((x >= left) & (x < left + w))
        return BoxCoverage(inside.reshape(rows, samples, cols, samples).mean(axis=(1, 3)))
