"""What the commands of this folder share: how they end when something is wrong."""

import functools
import sys
from collections.abc import Callable


def command(main: Callable[..., int]) -> Callable[..., int]:
    """Errors that a user can mend: one line on standard error and status 1; an interrupt: 130."""

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        try:
            return main(arguments)
        except KeyboardInterrupt:
            return 130
        except (ValueError, OSError) as error:  # ours are ValueErrors
            print("error: " + " ".join(str(error).split()), file=sys.stderr)
            return 1

    return run
