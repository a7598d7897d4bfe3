"""`python -m model remember`: captioned photos that captions may borrow from."""

import argparse
from pathlib import Path

from tqdm import tqdm

from model.commands.inputs import add_checkpoint_option, add_pickle_option, load_captioner
from model.corpora import DATA_HELP, FORMAT_HELP, FORMATS, SPLITS, read_data
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
    photos = read_data(settings.data, settings.format)
    if settings.split:
        photos = [photo for photo in photos if photo.split == settings.split]
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
