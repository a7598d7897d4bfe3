"""What several commands take: photos, a checkpoint, and whether its weights may be pickled."""

import argparse
from collections.abc import Collection, Iterator
from pathlib import Path

from PIL import Image

from model.captioner import Captioner, choose_device
from model.checkpoint.hub import SHIPPED
from model.errors import ImageError
from model.images import find_images, load_image
from model.loading import load
from model.memory import Memory
from model.output.records import make_photo_key


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        metavar="X",
        help="checkpoint folder or Hugging Face model id (default: the shipped checkpoint)",
    )


def add_pickle_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also load weights that are only there as pickle files, reading nothing but tensors",
    )


def add_prompt_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help="what to ask a captioner that takes a prompt (default: its own question)",
    )


def add_memory_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory",
        metavar="FOLDER",
        help="memory whose captions the words may look at too, as python -m model remember writes "
        "it (default: none)",
    )


def add_translator_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--translator",
        metavar="FOLDER",
        help="translator's folder (default: the one that came with CaptionLens)",
    )


def load_memory(folder: str | None) -> Memory | None:
    """The memory in a folder, where one is named."""
    return None if folder is None else Memory.load(folder)


def load_captioner(name: str | None, allow_pickle: bool, prompt: str | None = None) -> Captioner:
    """The captioner of this name, or the shipped one, on a GPU where there is one.

    prompt: what it is asked, if not its own question.
    """
    captioner = load(SHIPPED if name is None else name, allow_pickle=allow_pickle)
    captioner.to(choose_device())
    return captioner if prompt is None else captioner.with_prompt(prompt)


def read_photos(
    paths: list[str], skip: Collection[str] = ()
) -> Iterator[tuple[Path, Image.Image | ImageError]]:
    """(path, photo or error) of photos and of all photos in folders, read as they are needed.

    skip: the `make_photo_key` of each photo to leave out.
    """
    for path in paths:
        try:
            photo_paths = find_images(path)
        except ImageError as error:
            yield Path(path), error
            continue
        for photo_path in photo_paths:
            if make_photo_key(str(photo_path)) in skip:
                continue
            try:
                yield photo_path, load_image(photo_path)
            except ImageError as error:
                yield photo_path, error
