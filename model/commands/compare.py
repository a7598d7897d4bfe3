"""`python -m model compare`: several captioners side by side."""

import argparse
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from model.captioner import Captioner
from model.commands.inputs import (
    add_pickle_option,
    add_prompt_option,
    load_captioner,
    read_photos,
)
from model.error_reporting import print_error
from model.errors import CaptionLensError, ImageError, OptionError
from model.explain.methods import DEFAULT_METHOD
from model.output.comparison import (
    ComparedCaption,
    choose_words,
    explain_for_comparison,
    normalize_word,
)
from model.output.figures import draw_comparison_sheet, save_figure
from model.output_path import check_output_folder

HELP = "caption photos with several captioners"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", nargs="+", metavar="IMAGE", help="photo or folder of photos")
    add(
        "--checkpoints",
        nargs="+",
        required=True,
        metavar="X",
        help='at least two: checkpoint folders, Hugging Face model ids, or "shipped"',
    )
    add(
        "--output",
        metavar="FOLDER",
        help="draw a figure for each photo in this folder, with the maps of the shared words",
    )
    add_prompt_option(parser)
    add_pickle_option(parser)


def run(settings: argparse.Namespace) -> int:
    """Print what each captioner says of each photo; draw the maps of the words that all say."""
    names = settings.checkpoints
    if len(set(names)) < max(2, len(names)):
        raise OptionError(f"--checkpoints needs at least two different ones, not {' '.join(names)}")
    folder = Path(settings.output) if settings.output else None
    if folder:
        check_output_folder(folder)
    captioners = [load_captioner(name, settings.allow_pickle) for name in names]
    if settings.prompt is not None:
        captioners = _ask(captioners, settings.prompt)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    any_failed = False
    for path, photo in read_photos(settings.paths):
        try:
            if isinstance(photo, ImageError):
                raise photo
            compared = [explain_for_comparison(captioner, photo) for captioner in captioners]
        except CaptionLensError as error:
            any_failed = True
            print_error(error)
            continue
        _print_comparison(path, compared)
        if folder:
            settings_used = {"image": str(path), "method": DEFAULT_METHOD, "checkpoints": names}
            figure = _find_free_name(folder / f"{path.stem}.png")
            save_figure(
                draw_comparison_sheet(photo, compared, settings_used), figure, settings_used
            )
            print(f"  maps in {figure}")
    return int(any_failed)


def _ask(captioners: list[Captioner], prompt: str) -> list[Captioner]:
    """The captioners with those that take a prompt given this one. Raises OptionError where none
    does."""
    if all(captioner.prompt is None for captioner in captioners):
        raise OptionError("--prompt: none of these captioners takes a prompt")
    return [c if c.prompt is None else c.with_prompt(prompt) for c in captioners]


def _print_comparison(path: Path, compared: Sequence[ComparedCaption]) -> None:
    print(path)
    for one in compared:
        print(f"  {one.name} ({one.summary()}): {one.explanation.text}")
    chosen_words = choose_words(compared)
    texts = [
        normalize_word(one.explanation.words[i].text)
        for one, indices in zip(compared, chosen_words.indices, strict=True)
        for i in indices
    ]
    print(f"  {chosen_words.description}: {', '.join(dict.fromkeys(texts))}")


def _find_free_name(path: Path) -> Path:
    """The path, with a number where there is such a file already: photos may share a name."""
    free, numbers = path, count(2)
    while free.exists():
        free = path.with_stem(f"{path.stem}-{next(numbers)}")
    return free
