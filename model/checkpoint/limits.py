"""Sizes that a checkpoint's files ask for, checked before anything of that size is made: a file of
a few bytes may ask for more memory than there is."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from model.errors import CheckpointError

SETTINGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
MAX_JSON_BYTES = 100_000_000  # a tokenizer of 250,000 words has 17 million
MAX_LAYERS = 200
MAX_SIDE = 2048  # pixels of the encoder's input
MAX_BEAMS = 100
MAX_WINDOW = 64  # patches a side, of which Swin keeps a table of their pairs


def check_settings(folder: Path) -> None:
    """Raises CheckpointError for sizes that no captioner has."""
    for path in folder.glob("*.json"):
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path}: larger than {MAX_JSON_BYTES // 10**6} MB")
    for name in SETTINGS:
        try:
            values = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # whoever needs it says what is wrong with it
        for keys, number in _numbers(values):
            most = number
            if keys and ("layer" in keys[-1] or "depth" in keys[-1]):
                most = MAX_LAYERS
            elif {"image_size", "size", "crop_size", "pad_size"} & set(keys):
                most = MAX_SIDE
            elif "window_size" in keys:
                most = MAX_WINDOW
            elif keys and keys[-1] in ("num_beams", "num_captions"):
                most = MAX_BEAMS
            if number > most:
                raise CheckpointError(
                    f"{folder / name}: {'.'.join(keys)} is {number}, more than {most}"
                )


def _numbers(value: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number in what JSON holds, with the names that lead to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*keys, key))
    elif isinstance(value, list):
        if keys and "depth" in keys[-1] and all(isinstance(i, (int, float)) for i in value):
            yield keys, sum(value)  # layers of each stage
        for inner in value:
            yield from _numbers(inner, keys)
    elif isinstance(value, (int, float)):
        yield keys, value


def check_weights(folder: Path, stored: int, build: Callable[[], nn.Module]) -> None:
    """Raises CheckpointError for a network of more than twice the numbers that are stored.

    (Up to that it is no harm: what is missing is listed once it is there. Buffers are not counted;
    the one that can be large, Swin's, is bounded by its window.)
    """
    with torch.device("meta"):  # no memory
        expected = sum(parameter.numel() for parameter in build().parameters())
    if expected > 2 * stored:
        raise CheckpointError(
            f"{folder}: config.json asks for {expected:,} weights, "
            f"of which its files hold {stored:,}"
        )


def count_stored_numbers(paths: Iterable[Path]) -> int:
    """How many numbers weights files hold: by the headers of safetensors, else at most."""
    total = 0
    for path in paths:
        if path.suffix != ".safetensors":
            total += path.stat().st_size // 2  # of two bytes
            continue
        with safe_open(path, framework="pt") as file:
            total += sum(torch.Size(file.get_slice(key).get_shape()).numel() for key in file.keys())
    return total
