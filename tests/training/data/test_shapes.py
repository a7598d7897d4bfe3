"""Drawn pictures show what their captions say, and validation asks for what train never showed."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from training.data.augmentation import mirror_caption
from training.data.shapes import COLOURS, RELATIONS, SHAPES, SIDE, list_scenes, write_shapes
from training.draw import main

CAPTION = re.compile(
    rf"A large ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(RELATIONS)}) "
    rf"a small ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "shapes"
    write_shapes(folder, 30)
    return folder


def read(folder, split):
    lines = (folder / split / "metadata.jsonl").read_text().splitlines()
    return {folder / split / e["file_name"]: e["text"] for e in map(json.loads, lines)}


def seen(photo, colour):
    """Where (row, column) the pixels of this colour are: far from pale, and nearest to it."""
    pixels = np.asarray(photo.convert("RGB"), dtype=int)
    distances = np.stack([((pixels - value) ** 2).sum(-1) for value in COLOURS.values()])
    nearest = distances.argmin(0) == list(COLOURS).index(colour)
    return np.argwhere(nearest & (distances.min(0) < 45**2))


def is_true(caption, photo):
    first, _, relation, second, _ = CAPTION.fullmatch(caption).groups()
    large, small = seen(photo, first), seen(photo, second)
    dy, dx = large.mean(0) - small.mean(0)
    right, down = RELATIONS[relation]
    along, across = (dx * right, dy) if right else (dy * down, dx)
    return len(large) > 1.2 * len(small) > 500 and along > 2 * abs(across)


def test_captions_are_true_of_the_pixels(folder):
    pictures = read(folder, "train") | read(folder, "validation")
    for path, caption in pictures.items():
        photo = Image.open(path)
        assert photo.size == (SIDE, SIDE) and photo.mode == "RGB"
        assert is_true(caption, photo), (path.name, caption)
        assert is_true(mirror_caption(caption), photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        turned = photo.transpose(Image.Transpose.ROTATE_180)
        assert not is_true(caption, turned)  # the check can fail


def shape_seen(pixels):
    """The shape of these pixels (row, column), by how much of their box they fill, and of the
    box's middle row."""
    rows, columns = (pixels - pixels.min(0)).T
    box = np.zeros((rows.max() + 1, columns.max() + 1))
    box[rows, columns] = 1
    if box.mean() > 0.9:
        return "square"
    if box.mean() > 0.7:
        return "circle"
    return "cross" if box[len(box) // 2].mean() > 0.85 else "triangle"


def test_shapes_are_what_they_are_called(folder):
    for path, caption in read(folder, "train").items():
        first, large, _, second, small = CAPTION.fullmatch(caption).groups()
        photo = Image.open(path)
        assert shape_seen(seen(photo, first)) == large, (path.name, caption)
        assert shape_seen(seen(photo, second)) == small, (path.name, caption)


def test_no_two_things_stand_together_in_both_splits(folder):
    train, validation = (
        {frozenset((scene.large, scene.small)) for scene in scenes}
        for scenes in list_scenes(3).values()
    )
    assert not train & validation
    assert {thing for pair in train for thing in pair} >= {t for pair in validation for t in pair}
    assert (len(train), len(validation)) == (96, 24)
    for colours, shapes in (map(set, zip(*pair, strict=True)) for pair in train | validation):
        assert len(colours) == len(shapes) == 2
    counts = {split: len(read(folder, split)) for split in ("train", "validation")}
    assert counts == {"train": 24, "validation": 6}
    assert not set(read(folder, "train").values()) & set(read(folder, "validation").values())


def test_same_seed_same_bytes(folder, tmp_path):
    write_shapes(tmp_path / "again", 30)
    write_shapes(tmp_path / "other", 30, seed=1)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 32
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()
        assert (tmp_path / "other" / file).read_bytes() != (folder / file).read_bytes()


def test_what_cannot_be_drawn(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("here")
    for arguments, message in (
        ([folder], "is not empty; give a new folder"),
        ([tmp_path / "file"], "is a file; give a new folder"),
        ([tmp_path / "few", "--count", 9], "--count 9: at least 10 pictures"),
    ):
        assert main([str(a) for a in arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "few").exists()
    assert main([str(tmp_path / "new"), "--count", "10"]) == 0
    assert "8 in train/, 2 in validation/" in capsys.readouterr().out
