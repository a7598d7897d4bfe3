"""How a command ends when something is wrong: for `model` and `training` alike."""

import functools
import os
import sys
import traceback
from collections.abc import Callable

from model.errors import CaptionLensError, DataError

DEBUG = "CAPTIONLENS_DEBUG"  # set to 1, the trace of any error is shown
INTERRUPTED = 130  # the exit status of a program that SIGINT ended


def is_debugging() -> bool:
    """Whether the user asked to see the trace of any error."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def print_error(error: BaseException | str) -> None:
    """Print an error for the user as one line on standard error; of data, each line of the message
    is one, as there may be much to mend. The trace comes first if the user asked for it."""
    if is_debugging() and isinstance(error, BaseException):
        traceback.print_exception(error)
    text = str(error) or type(error).__name__
    lines = text.splitlines() if isinstance(error, DataError) else [text]
    for line in lines:
        print("error: " + " ".join(line.split()), file=sys.stderr)


def report_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Decorates a command's main function, which returns its exit status.

    What the user can mend is one line on standard error and status 1. Any other exception is a
    fault of the program: its trace, and status 2. An interrupt is status 130.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a name that is not text must not stop the rest
                stream.reconfigure(errors="backslashreplace")
        try:
            return main(arguments)
        except BrokenPipeError:
            # who read our output has left; nothing more to say, here or at exit
            sys.stdout = None
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED
        except (CaptionLensError, OSError) as error:
            print_error(error)
            return 1
        except Exception:
            traceback.print_exc()
            print("error: a fault in CaptionLens; please report the lines above", file=sys.stderr)
            return 2

    return run
