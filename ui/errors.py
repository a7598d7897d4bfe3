"""Errors as a visitor sees them: one line of text, and never a trace."""

import html
import logging
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from model.error_reporting import is_debugging
from model.errors import CaptionLensError

MAX_LENGTH = 1000  # characters of what a visitor is told
log = logging.getLogger("captionlens")


class FaultError(gr.Error):
    """Tells a visitor of a fault in the program, by a number that also stands in the log."""

    def __init__(self):
        self.number = secrets.token_hex(4)
        super().__init__(
            f"Something went wrong here, not with you ({self.number}). Try again.",
            print_exception=False,
        )


def user_error(message: object) -> gr.Error:
    """An error that the visitor can mend, shown as a toast.

    It is one line, of characters that can be sent and seen, and no longer than can be read, though
    it may quote what the visitor sent. A toast shows HTML, so it is escaped.
    """
    line = " ".join(str(message).splitlines())
    if len(line) > MAX_LENGTH:
        line = f"{line[: MAX_LENGTH - 1]}…"
    text = "".join(c if c.isprintable() else "?" for c in line)
    return gr.Error(html.escape(text, quote=False), print_exception=False)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what the visitor can mend, a CaptionLensError, into a `user_error`."""
    try:
        yield
    except CaptionLensError as error:
        raise user_error(error) from error


def log_trace(error: BaseException) -> None:
    """Write the whole trace of what a visitor is told to the log, if CAPTIONLENS_DEBUG is set."""
    if is_debugging():
        log.info("trace of what the visitor is told:", exc_info=error)


def report_fault(error: BaseException | None) -> FaultError:
    """Log a fault of the program, and return what the visitor is told of it.

    Logged are the kind of its first cause and where that was raised, but not its message, which may
    quote the visitor: that is shown if CAPTIONLENS_DEBUG is set.
    """
    fault = FaultError()
    if error is not None:
        log_trace(error)
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    frames = "".join(traceback.format_tb(error.__traceback__)) if error else ""
    log.error("%s: %s\n%s", fault.number, type(error).__name__, frames)
    return fault
