"""The command line: `python -m model caption|explain|compare|translate|remember|info`."""

import argparse
import sys

from model.commands import caption, compare, explain, info, remember, translate
from model.error_reporting import report_errors

COMMANDS = {
    "caption": caption,
    "explain": explain,
    "compare": compare,
    "translate": translate,
    "remember": remember,
    "info": info,
}


@report_errors
def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m model", description="Captions of photos, and where each word looked."
    )
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.HELP))
    settings = parser.parse_args(arguments)
    status = COMMANDS[settings.command].run(settings)
    sys.stdout.flush()  # here, where a reader that has left is no surprise
    return status


if __name__ == "__main__":
    sys.exit(main())
