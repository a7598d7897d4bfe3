"""Drawn pictures of two coloured shapes with true captions, to try the training pipeline on.

A caption is one sentence: "A large red circle left of a small blue square." They are no substitute
for photos, but what is wrong with data, training or evaluation shows in minutes, on captions that
are known to be true. As each scene has one caption only, a BLEU-4 of 100 means that every caption
is exact.
"""

import json
import random
from collections.abc import Iterator
from itertools import combinations, cycle, islice, product
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from model.errors import OptionError
from model.output_path import check_output_folder

SIDE = 224  # pixels
OVERSAMPLING = 4  # drawn this many times larger, then reduced: smooth edges
MARGIN = 6  # pixels kept free at the border and between the shapes
MAX_DRIFT = 14  # pixels up or down for "left of", left or right for "above"
HELD_OUT = 0.2  # fraction of the pictures, and of the pairs of objects, for validation
MIN_COUNT = 10  # pictures of both splits
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


class ColouredShape(NamedTuple):
    """One of the two objects of a scene, as its caption names it."""

    colour: str
    shape: str


class Scene(NamedTuple):
    """What a picture shows. The large object is named first: a mirror image changes the relation,
    but not which of the two comes first."""

    large: ColouredShape
    small: ColouredShape
    relation: str

    @property
    def caption(self) -> str:
        large, small = " ".join(self.large), " ".join(self.small)
        return f"A large {large} {self.relation} a small {small}."


def list_scenes(seed: int) -> dict[str, list[Scene]]:
    """All scenes of each split, shuffled. Two objects that are together in one split, in whatever
    relation, never are in the other."""
    generator = random.Random(seed)
    objects = [ColouredShape(*words) for words in product(COLOURS, SHAPES)]
    # no word of a caption comes twice: a captioner may be set to repeat no two tokens, which would
    # keep it from writing "triangle" again
    pairs = [
        (first, second)
        for first, second in combinations(objects, 2)
        if first.colour != second.colour and first.shape != second.shape
    ]
    generator.shuffle(pairs)
    num_held_out = round(HELD_OUT * len(pairs))
    scenes = {}
    for split, split_pairs in (
        ("train", pairs[num_held_out:]),
        ("validation", pairs[:num_held_out]),
    ):
        scenes[split] = [
            Scene(*order, relation)
            for pair in split_pairs
            for order in (pair, pair[::-1])
            for relation in RELATIONS
        ]
        generator.shuffle(scenes[split])
    return scenes


def draw_scene(scene: Scene, generator: random.Random) -> Image.Image:
    """A picture of the scene; sizes, positions, shades and background are random."""
    picture = _draw_background(generator)
    large, small = (generator.uniform(*RADII[size]) for size in ("large", "small"))
    for shape, radius, centre in zip(
        (scene.large, scene.small),
        (large, small),
        _choose_centres(RELATIONS[scene.relation], large, small, generator),
        strict=True,
    ):
        shade = tuple(value + generator.randint(-20, 13) for value in COLOURS[shape.colour])
        _draw_shape(picture, shape.shape, shade, centre, radius)
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _choose_centres(
    direction: tuple[int, int], large: float, small: float, generator: random.Random
) -> Iterator[tuple[float, float]]:
    """The centres (x, y) of two objects in pixels: the first is in `direction` of the second.

    large, small: their radii in pixels.
    """
    free = SIDE - 2 * MARGIN
    distance = generator.uniform(large + small + MARGIN, free - large - small)
    # along the relation: both have to fit; across it: nearly level
    start = MARGIN + generator.uniform(0, free - large - distance - small)
    level = generator.uniform(MARGIN + large, SIDE - MARGIN - large)  # the small one may drift
    drifted = level + generator.uniform(-MAX_DRIFT, MAX_DRIFT)
    if sum(direction) < 0:  # the first is left or above
        along = start + large, start + large + distance
    else:
        along = start + small + distance, start + small
    for main, cross in zip(along, (level, drifted), strict=True):
        yield (main, cross) if direction[0] else (cross, main)


def _draw_background(generator: random.Random) -> Image.Image:
    """A pale gradient, in some direction, between two tints."""
    size = (OVERSAMPLING * SIDE, OVERSAMPLING * SIDE)
    first, second = (
        Image.new("RGB", size, tuple(generator.randint(165, 245) for _ in range(3)))
        for _ in range(2)
    )
    mask = Image.linear_gradient("L").rotate(90 * generator.randrange(4)).resize(size)
    return Image.composite(first, second, mask)


def _draw_shape(
    picture: Image.Image,
    shape: str,
    colour: tuple[int, ...],
    centre: tuple[float, float],
    radius: float,
) -> None:
    x, y, radius = OVERSAMPLING * centre[0], OVERSAMPLING * centre[1], OVERSAMPLING * radius
    draw = ImageDraw.Draw(picture)
    if corners := SHAPES[shape]:
        draw.polygon([(x + radius * dx, y + radius * dy) for dx, dy in corners], colour)
    else:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def write_shapes(folder: Path, count: int = 1000, seed: int = 0) -> dict[str, int]:
    """Write `train/` and `validation/`, each with pictures and their `metadata.jsonl`, which is
    the hub's `imagefolder` format; returns how many pictures each has.

    With more pictures than scenes, scenes recur and are drawn differently. The same count and seed
    give the same bytes.

    Raises OptionError for a count below 10, FileExistsError for a file or a folder that is not
    empty.
    """
    if count < MIN_COUNT:
        raise OptionError(f"--count {count}: at least {MIN_COUNT} pictures make two splits")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder")
    check_output_folder(folder)
    num_held_out = round(HELD_OUT * count)
    counts = {"train": count - num_held_out, "validation": num_held_out}
    for split, scenes in list_scenes(seed).items():
        (folder / split).mkdir(parents=True)
        generator = random.Random(f"{seed} {split}")
        with (folder / split / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
            for number, scene in enumerate(islice(cycle(scenes), counts[split])):
                name = f"{number:05}.png"
                draw_scene(scene, generator).save(folder / split / name)
                metadata.write(json.dumps({"file_name": name, "text": scene.caption}) + "\n")
    return counts
