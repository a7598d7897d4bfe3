"""Options that several of the commands share."""

import argparse

from model.checkpoint.hub import SHIPPED
from training.data import CACHE, DATA_HELP, FORMAT_HELP, FORMATS, SPLITS


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that the help texts do not name themselves."""

    def _get_help_string(self, action):
        if action.default in (None, False) or "(default:" in action.help:
            return action.help
        return super()._get_help_string(action)


def add_data_options(
    parser: argparse.ArgumentParser, data_help: str = DATA_HELP, positional: bool = False
) -> None:
    """Add `--data` and `--format`; with `positional`, the data is named without an option."""
    if positional:
        parser.add_argument("data", metavar="DIR", help=data_help)
    else:
        parser.add_argument("--data", required=True, help=data_help)
    parser.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)


def add_split_option(parser: argparse.ArgumentParser) -> None:
    """Add `--split`, dev by default."""
    parser.add_argument("--split", default="dev", choices=SPLITS, help="split of the data")


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoint`, the shipped one by default."""
    parser.add_argument(
        "--checkpoint",
        default=str(SHIPPED),
        help="captioner, a folder or hub id (default: the shipped one)",
    )


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add `--cache`."""
    parser.add_argument(
        "--cache", default=CACHE, help="folder that the photos of a hub dataset are written to"
    )
