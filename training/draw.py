"""Draw a small captioned set: `python -m training.draw DIR`.

Two coloured shapes a picture and one sentence: "A large red circle left of a small blue square."
It is no substitute for photos but the smoke test of the training pipeline: what is wrong with data,
training or evaluation shows in minutes, on pictures whose captions are known to be true. As each
scene has one caption only, a BLEU-4 of 100 means that every caption is exact.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from itertools import combinations, cycle, islice, product
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from model.error_reporting import report_errors
from model.errors import OptionError
from model.output_path import check_output_folder

SIDE = 224  # pixels
FINE = 4  # drawn so many times larger, then reduced: smooth edges
MARGIN = 6  # pixels that stay free at the border and between the shapes
DRIFT = 14  # pixels that "left of" may also be higher or lower, and "above" further left or right
HELD_OUT = 0.2  # share of the pictures, and of the pairs of things, that validation has
COLOURS = {
    "red": (214, 36, 36),
    "green": (36, 150, 60),
    "blue": (40, 76, 214),
    "yellow": (242, 204, 24),
    "black": (24, 24, 24),
}
# Corners in units of the radius. Each is its own mirror image, so captions survive mirroring.
SHAPES = {
    "circle": None,
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -0.95), (1, 0.8), (-1, 0.8)],
    "cross": [(x / 3, y / 3) for x, y in [(-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1)]]
    + [(x / 3, y / 3) for x, y in [(1, 3), (-1, 3), (-1, 1), (-3, 1), (-3, -1), (-1, -1)]],
}
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
RADII = {"large": (40, 48), "small": (20, 26)}  # pixels


class Thing(NamedTuple):
    colour: str
    shape: str


class Scene(NamedTuple):
    """What the caption says. The large thing is named first: a mirror image changes the relation,
    but not which of the two begins."""

    large: Thing
    small: Thing
    relation: str

    @property
    def caption(self) -> str:
        large, small = " ".join(self.large), " ".join(self.small)
        return f"A large {large} {self.relation} a small {small}."


def splits(seed: int) -> dict[str, list[Scene]]:
    """All scenes of each split, shuffled. Two things that stand together in one split, in whatever
    relation, never do in the other."""
    chance = random.Random(seed)
    things = [Thing(*thing) for thing in product(COLOURS, SHAPES)]
    # no word of a caption comes twice, as captioners may be told to repeat no two tokens, which
    # would keep "triangle" from being said again
    pairs = [
        (one, other)
        for one, other in combinations(things, 2)
        if one.colour != other.colour and one.shape != other.shape
    ]
    chance.shuffle(pairs)
    held = round(HELD_OUT * len(pairs))
    scenes = {}
    for split, part in (("train", pairs[held:]), ("validation", pairs[:held])):
        scenes[split] = [
            Scene(*order, relation)
            for pair in part
            for order in (pair, pair[::-1])
            for relation in RELATIONS
        ]
        chance.shuffle(scenes[split])
    return scenes


def draw_scene(scene: Scene, chance: random.Random) -> Image.Image:
    """A picture of the scene; sizes, places, shades and background are left to chance."""
    picture = _background(chance)
    large, small = (chance.uniform(*RADII[size]) for size in ("large", "small"))
    for thing, radius, centre in zip(
        (scene.large, scene.small),
        (large, small),
        _places(RELATIONS[scene.relation], large, small, chance),
        strict=True,
    ):
        shade = tuple(value + chance.randint(-20, 13) for value in COLOURS[thing.colour])
        _draw(picture, thing.shape, shade, centre, radius)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _places(
    direction: tuple[int, int], large: float, small: float, chance: random.Random
) -> Iterator[tuple[float, float]]:
    """The centres (x, y) of two things, in pixels: the first lies in `direction` of the second."""
    room = SIDE - 2 * MARGIN
    apart = chance.uniform(large + small + MARGIN, room - large - small)
    # along the relation: both have to fit; across it: nearly level
    begin = MARGIN + chance.uniform(0, room - large - apart - small)
    level = chance.uniform(MARGIN + large, SIDE - MARGIN - large)  # the small one has room to drift
    drifted = level + chance.uniform(-DRIFT, DRIFT)
    if sum(direction) < 0:  # the first is left or above
        along = begin + large, begin + large + apart
    else:
        along = begin + small + apart, begin + small
    for main, cross in zip(along, (level, drifted), strict=True):
        yield (main, cross) if direction[0] else (cross, main)


def _background(chance: random.Random) -> Image.Image:
    """A pale gradient, in some direction, between two tints."""
    size = (FINE * SIDE, FINE * SIDE)
    one, other = (
        Image.new("RGB", size, tuple(chance.randint(165, 245) for _ in range(3))) for _ in range(2)
    )
    mask = Image.linear_gradient("L").rotate(90 * chance.randrange(4)).resize(size)
    return Image.composite(one, other, mask)


def _draw(
    picture: Image.Image,
    shape: str,
    colour: tuple[int, ...],
    centre: tuple[float, float],
    radius: float,
) -> None:
    x, y, radius = FINE * centre[0], FINE * centre[1], FINE * radius
    pen = ImageDraw.Draw(picture)
    if corners := SHAPES[shape]:
        pen.polygon([(x + radius * dx, y + radius * dy) for dx, dy in corners], colour)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def draw(folder: Path, count: int = 1000, seed: int = 0) -> dict[str, int]:
    """Write `train/` and `validation/`, each with pictures and their `metadata.jsonl`, as the hub
    lays out a folder of images; returns how many pictures each has.

    Scenes recur, drawn otherwise, when more pictures are asked for than there are scenes. The same
    count and seed give the same bytes.

    Raises ValueError for a count below 10, FileExistsError for a file or a folder that has
    something in it.
    """
    if count < 10:
        raise OptionError(f"--count {count}: at least 10 pictures are needed for two splits")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder")
    check_output_folder(folder)
    held = round(HELD_OUT * count)
    counts = {"train": count - held, "validation": held}
    for split, scenes in splits(seed).items():
        (folder / split).mkdir(parents=True)
        chance = random.Random(f"{seed} {split}")
        with (folder / split / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
            for number, scene in enumerate(islice(cycle(scenes), counts[split])):
                name = f"{number:05}.png"
                draw_scene(scene, chance).save(folder / split / name)
                metadata.write(json.dumps({"file_name": name, "text": scene.caption}) + "\n")
    return counts


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.draw",
        description="Draw pictures of two coloured shapes with true captions, to try training on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new folder")
    parser.add_argument("--count", type=int, default=1000, help="pictures, both splits together")
    parser.add_argument("--seed", type=int, default=0, help="for scenes and how they are drawn")
    settings = parser.parse_args(arguments)
    counts = draw(settings.folder, settings.count, settings.seed)
    told = ", ".join(f"{number} in {split}/" for split, number in counts.items())
    print(f"{settings.folder}: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
