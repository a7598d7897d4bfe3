"""Sizes that a checkpoint's files ask for, checked before anything of that size is made: a file of
a few bytes may ask for more memory than there is."""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from model.errors import CheckpointError
from model.files import is_lfs_pointer_file

SETTINGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
READ_SUFFIXES = (
    ".json",
    ".jinja",
    ".txt",
    ".safetensors",
    ".bin",
)  # of the files that a captioner has
MAX_SETTINGS_BYTES = 10_000_000  # of each of SETTINGS: the longest have some thousand
MAX_TEXT_BYTES = 100_000_000  # a tokenizer of 250,000 words has 17 million
MAX_HEADER_BYTES = 10_000_000  # of safetensors: a thousand tensors take a tenth of a million
MAX_LAYERS = 200
MAX_SIDE = 2048  # pixels of the encoder's input
# model_types whose "size" bounds the pixels of a photo, not its sides; it is not followed here
SIZED_BY_PIXELS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
MAX_BEAMS = 100
MAX_WINDOW = 64  # patches a side, of which Swin keeps a table of their pairs


def weigh_files(folder: Path) -> None:
    """Look at a checkpoint's files before they are read.

    Raises CheckpointError for one that is no plain file (a device or a pipe may never end), and for
    one that is larger than any captioner's.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix not in READ_SUFFIXES or not path.exists():
            continue  # a link that leads nowhere is a missing file, as its reader says
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise CheckpointError(f"{path}: not a plain file; copy the checkpoint anew")
        if is_lfs_pointer_file(path):
            continue  # whose content is yet to come
        if path.suffix == ".safetensors":
            with path.open("rb") as file:  # its first eight bytes: how long its header is
                size, limit = int.from_bytes(file.read(8), "little"), MAX_HEADER_BYTES
        elif path.suffix in (".json", ".jinja", ".txt"):
            size, limit = about.st_size, MAX_TEXT_BYTES
            if path.name in SETTINGS:
                limit = MAX_SETTINGS_BYTES
        else:
            continue  # pickled weights may be of any size
        if size > limit:
            what = "its header is " if path.suffix == ".safetensors" else ""
            raise CheckpointError(f"{path}: {what}larger than {limit // 10**6} MB")


def check_settings(folder: Path) -> None:
    """Raises CheckpointError for sizes that no captioner has."""
    weigh_files(folder)
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        try:
            settings[name] = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # whoever needs it says what is wrong with it
    config = settings.get("config.json")
    family = config.get("model_type") if isinstance(config, dict) else None
    for name, values in settings.items():
        for keys, number in _numbers(values):
            if "size" in keys and family in SIZED_BY_PIXELS:
                continue
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


def check_memory(folder: Path, stored: int) -> None:
    """Raises CheckpointError for weights that do not fit into this machine's memory, in float32."""
    needed, held = 4 * stored, measure_memory()
    if held is not None and needed > held:
        raise CheckpointError(
            f"{folder}: needs {needed / 2**30:.1f} GB of memory, of which this machine has "
            f"{held / 2**30:.1f}; choose a smaller model"
        )


def measure_memory() -> int | None:
    """The machine's memory in bytes; None where the system does not say (Windows)."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
