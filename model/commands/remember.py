"""`python -m model remember`: captioned photos that captions may borrow from."""

import argparse
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from model.commands.inputs import add_checkpoint_option, add_pickle_option, load_captioner
from model.corpora import (
    DATA_HELP,
    FORMAT_HELP,
    FORMATS,
    SPLITS,
    CaptionedImage,
    merge_splits,
    read_data,
)
from model.error_reporting import print_error
from model.errors import DataError, ImageError, OptionError
from model.memory import Memory
from model.memory.files import holds_memory
from model.memory.memory import BATCH_SIZE
from model.output_path import check_output_folder

HELP = "remember captioned photos, for caption --memory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", metavar="DIR", help=DATA_HELP)
    add("--output", required=True, metavar="FOLDER", help="folder that the memory is written to")
    add(
        "--add",
        action="store_true",
        help="add to the memory in that folder; a photo of the same name takes the other's place",
    )
    add("--split", choices=SPLITS, help="remember only this split of the data (default: all)")
    add("--format", choices=FORMATS, help=FORMAT_HELP)
    add_checkpoint_option(parser)
    add_pickle_option(parser)


def run(settings: argparse.Namespace) -> int:
    """Save a memory; photos that cannot be read are reported and left out."""
    output = Path(settings.output)
    check_output_folder(output)
    if holds_memory(output) and not settings.add:
        raise OptionError(f"{output}: holds a memory; add to it with --add, or name another folder")
    earlier = Memory.load(output) if settings.add else None
    photos = _read_photos(settings.data, settings.format, settings.split)
    captioner = load_captioner(settings.checkpoint, settings.allow_pickle)
    errors: list[ImageError] = []

    def report(error: ImageError) -> None:
        print_error(error)
        errors.append(error)

    remember = Memory.build if earlier is None else earlier.add
    # None: no bar where nobody watches it
    with tqdm(total=len(photos), unit=" photos", leave=False, disable=None) as bar:
        memory = remember(
            captioner, photos, on_error=report, on_step=lambda: bar.update(BATCH_SIZE)
        )
    num_remembered = len(photos) - len(errors)
    if not num_remembered:
        raise DataError(f"{settings.data}: no photo with captions that can be read, nothing saved")
    memory.save(output)
    print(f"{num_remembered} photos remembered, {len(memory)} in {output}")
    return int(bool(errors))


def _read_photos(data: str, format: str | None, split: str | None) -> list[CaptionedImage]:
    """The captioned photos of a split, or of all. Raises DataError for a split without any."""
    listed = read_data(data, format)
    if split is None:
        return merge_splits(listed)
    photos = [photo for photo in listed if photo.split == split]
    if not photos:
        counts = Counter(photo.split for photo in listed)
        others = ", ".join(f"{name} has {count:,}" for name, count in counts.items())
        raise DataError(
            f"{data}: no captioned photos in the {split} split ({others}), nothing saved; choose "
            "another --split"
        )
    return photos
