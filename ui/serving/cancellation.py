"""The visitor behind a request: whether anyone still waits for the answer, and for how long.

gradio stops a handler that yields when its visitor cancels or leaves, but tells nothing to one that
returns; so ours ask its queue.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import gradio as gr

from ui.gradio_queue import get_queued_request
from ui.serving.executor import CORES, work_for_addresses

MAX_SECONDS = 60.0


class RequestCancelled(gr.Error):
    """Nobody waits any more. The message reaches nobody, and the log gets no trace."""

    def __init__(self):
        super().__init__("Cancelled.", print_exception=False)


class TimeLimitExceeded(gr.Error):
    """The answer takes longer than a visitor may keep the processor busy."""

    def __init__(self, seconds: float):
        super().__init__(
            f"This took longer than {seconds:.0f} seconds and was stopped. Ask for less: fewer "
            "beams or photos, or a smaller model.",
            print_exception=False,
        )


class Visitor:
    """Who sent a request. Make it in the thread that gradio runs the handler in, at its start.

    `address` is where it came from. The time limit of `seconds` begins with the first look at
    `stop_reason`. `is_wanted` tells whether the answer is still the newest that was asked for.
    """

    def __init__(self, seconds: float = MAX_SECONDS, is_wanted: Callable[[], bool] = lambda: True):
        self._request, self._is_wanted = get_queued_request(), is_wanted
        self.address = self._request.address if self._request else ""
        self._seconds = seconds
        self._deadline: float | None = None

    def stop_reason(self) -> gr.Error | None:
        """The RequestCancelled or TimeLimitExceeded that should end the work, or None."""
        is_abandoned = self._request is not None and self._request.is_abandoned
        if is_abandoned or not self._is_wanted():
            return RequestCancelled()
        now = time.monotonic()
        self._deadline = self._deadline or now + self._seconds
        return TimeLimitExceeded(self._seconds) if now > self._deadline else None

    def check_still_waiting(self) -> None:
        """Raise the `stop_reason`, if there is one."""
        if reason := self.stop_reason():
            raise reason


_CURRENT_VISITOR: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


@contextmanager
def work_for(visitor: Visitor) -> Iterator[None]:
    """Make this the `current_visitor` for the length of the block."""
    token = _CURRENT_VISITOR.set(visitor)
    try:
        with work_for_addresses([visitor.address]):
            yield
    finally:
        _CURRENT_VISITOR.reset(token)


def current_visitor() -> Visitor:
    """The visitor that this thread works for."""
    return _CURRENT_VISITOR.get() or Visitor()


def check_still_waiting() -> None:
    """Between two steps of an answer: let other answers have a turn, then raise RequestCancelled or
    TimeLimitExceeded if this thread's work should end here."""
    CORES.take_turns()
    current_visitor().check_still_waiting()
