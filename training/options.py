"""Options that several of the commands share, and what numbers may be."""

import argparse
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from model.checkpoint.hub import SHIPPED
from model.errors import OptionError
from training.data import CACHE, DATA_HELP, FORMAT_HELP, FORMATS, SPLITS


class Limit(NamedTuple):
    """The type of a number and what it may be.

    is_valid: whether a value is allowed; rule: the same in words, for the error message.
    """

    type: type
    is_valid: Callable[[Any], bool]
    rule: str

    def check(self, option: str, value: Any) -> None:
        """Raise OptionError for a value that is not allowed."""
        if not isinstance(value, Integral if self.type is int else Real):
            number = "a whole number" if self.type is int else "a number"
            raise OptionError(f"{option}: must be {number}, not {value!r}")
        if not self.is_valid(value):
            raise OptionError(f"{option}: {self.rule}, not {value}")


COUNT = Limit(int, lambda value: value >= 1, "must be at least 1")
SAMPLE_COUNT = Limit(int, lambda value: value == 0 or value >= 2, "must be 0 or at least 2")
SEED = Limit(int, lambda value: 0 <= value < 2**32, "must be from 0 to 4294967295")
POSITIVE = Limit(float, lambda value: 0 < value < float("inf"), "must be above 0")
NOT_NEGATIVE = Limit(float, lambda value: 0 <= value < float("inf"), "must be 0 or above")
FRACTION = Limit(float, lambda value: 0 <= value < 1, "must be from 0 to below 1")
PROPORTION = Limit(float, lambda value: 0 < value <= 1, "must be above 0 and at most 1")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that the help texts do not name themselves."""

    def _get_help_string(self, action):
        if action.default in (None, False) or "(default:" in action.help:
            return action.help
        return super()._get_help_string(action)


def name_option(setting: str) -> str:
    """The command line's name for a setting: `encoder_rate` is `--encoder-rate`."""
    return f"--{setting.replace('_', '-')}"


Numbers = Mapping[str, tuple[Limit, Any, str]]  # of settings: limit, default and help


def add_number_options(parser: argparse.ArgumentParser, numbers: Numbers) -> None:
    """Add an option for each of these settings."""
    for name, (limit, default, help) in numbers.items():
        parser.add_argument(name_option(name), type=limit.type, default=default, help=help)


def check_numbers(
    parser: argparse.ArgumentParser, settings: argparse.Namespace, numbers: Numbers
) -> None:
    """End the program with the parser's message where one of these settings is not allowed."""
    for name, (limit, _, _) in numbers.items():
        try:
            limit.check(name_option(name), getattr(settings, name))
        except OptionError as error:
            parser.error(f"argument {error}")


def add_data_options(
    parser: argparse.ArgumentParser,
    data_help: str = DATA_HELP,
    positional: bool = False,
    several: bool = False,
) -> None:
    """Add `--data` and `--format`.

    positional: the data is named without an option; several: it may be more than one folder.
    """
    if positional:
        parser.add_argument("data", metavar="DIR", nargs="+" if several else None, help=data_help)
    elif several:
        parser.add_argument("--data", required=True, nargs="+", metavar="DIR", help=data_help)
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


def add_cache_option(parser: argparse.ArgumentParser, *, features: bool = False) -> None:
    """Add `--cache`; features: whether image features are kept there too."""
    kept = "image features and the photos" if features else "the photos"
    parser.add_argument("--cache", default=CACHE, help=f"folder for {kept} of a hub dataset")
