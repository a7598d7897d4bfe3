"""Check captioned photos before a run is spent on them: `python -m training.check DIR [DIR ...]`.

The exit status is 1 where something would waste the run.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

from model import load
from model.error_reporting import report_errors
from model.errors import OptionError
from model.output_path import check_output_file
from training.data import read_corpora
from training.evaluation.data_checks import check_data
from training.evaluation.photo_sheet import draw_photo_sheet
from training.options import HelpFormatter, add_cache_option, add_data_options


def check_picture_path(path: str) -> None:
    """Raise OptionError for a path that no picture can be written to."""
    check_output_file(path)
    if Image.registered_extensions().get(Path(path).suffix.lower()) not in Image.SAVE:
        raise OptionError(f"--output {path}: give a name that ends in .png")


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.check",
        description="Read captioned photos and report what is in them, and what would waste a run.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add_data_options(parser, positional=True, several=True)
    add("--checkpoint", help="captioner to train further: reports captions too long for it")
    add_cache_option(parser)
    add("--output", metavar="SHEET.png", help="draw some photos of each split with their captions")
    settings = parser.parse_args(arguments)
    if settings.output:
        check_picture_path(settings.output)
    corpora = read_corpora(settings.data, settings.format, settings.cache)
    items = [item for corpus in corpora for item in corpus.items]
    network = load(settings.checkpoint).network if settings.checkpoint else None
    report = check_data(items, network, [name for corpus in corpora for name in corpus.wordless])
    for name, corpus in zip(settings.data, corpora, strict=True):
        print(f"{name}: {corpus.format}, {corpus.splits_from}")
    print("\n".join(report.lines()))
    if settings.output:
        draw_photo_sheet(report.readable).save(settings.output)
    return 1 if report.stops else 0


if __name__ == "__main__":
    sys.exit(main())
