"""The visitor behind a request: whether anyone still waits for the answer, and for how long.

gradio stops what answers in steps when its visitor cancels or leaves, but tells nothing to what
answers at once; so this asks gradio's own queue (gradio 6).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import gradio as gr
from gradio.context import LocalContext

MAX_SECONDS = 60.0


class Left(gr.Error):
    """Nobody waits any more. It reaches nobody, and leaves no trace in the log."""

    def __init__(self):
        super().__init__("Cancelled.", print_exception=False)


class TooSlow(gr.Error):
    """The answer takes longer than a visitor may keep the processor busy."""

    def __init__(self, seconds: float):
        super().__init__(
            f"This took longer than {seconds:.0f} seconds and was stopped. Ask for less: fewer "
            "beams or photos, or a smaller model.",
            print_exception=False,
        )


class Visitor:
    """Who asked; to be made in the thread that answers, at its beginning."""

    def __init__(self, seconds: float = MAX_SECONDS):
        self._blocks = LocalContext.blocks.get(None)
        self._event_id = LocalContext.event_id.get(None)
        self._seconds, self._until = seconds, None

    @property
    def has_left(self) -> bool:
        """Whether the request was cancelled, or its page or connection is closed."""
        if self._blocks is None or self._event_id is None:  # not asked through the queue
            return False
        queue = self._blocks._queue
        event = queue.event_ids_to_events.get(self._event_id)
        return (
            event is None
            or not event.alive
            or event._id not in queue.pending_event_ids_session.get(event.session_hash, ())
        )

    def trouble(self) -> gr.Error | None:
        """Left or TooSlow if the work should end here. It begins when this is first asked."""
        if self.has_left:
            return Left()
        now = time.monotonic()
        self._until = self._until or now + self._seconds
        return TooSlow(self._seconds) if now > self._until else None

    def check(self) -> None:
        """Raises what `trouble` tells."""
        if trouble := self.trouble():
            raise trouble


_VISITOR: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


@contextmanager
def asked_by(visitor: Visitor) -> Iterator[None]:
    """What runs meanwhile is for this visitor."""
    token = _VISITOR.set(visitor)
    try:
        yield
    finally:
        _VISITOR.reset(token)


def visitor() -> Visitor:
    """Who asked for what runs here."""
    return _VISITOR.get() or Visitor()


def still_wanted() -> None:
    """Raises Left or TooSlow if the work for the visitor of this thread should end here."""
    visitor().check()
