"""Captions for visitors who ask at the same time, written in one batch.

A batch of eight takes two thirds of the time of eight captions one by one.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from PIL import Image

from model import Caption, Captioner
from ui.serving.cancellation import Visitor
from ui.serving.executor import CORES

BATCH = 8


@dataclass(frozen=True, eq=False)
class _Request:
    captioner: Captioner
    photo: Image.Image
    options: dict[str, Any]
    visitor: Visitor
    answer: Future = field(default_factory=Future)

    def fits(self, other: "_Request") -> bool:
        return self.captioner is other.captioner and self.options == other.options


class Together:
    """Takes photos from any number of threads, and captions those that wait."""

    def __init__(self):
        self._waiting: deque[_Request] = deque()
        self._lock = Lock()

    def caption(
        self, captioner: Captioner, photo: Image.Image, visitor: Visitor, **options: Any
    ) -> Caption:
        """The same as `captioner.caption(photo, **options)`.

        Raises what that raises for this photo, never for another one's, and what
        `Visitor.check` does.
        """
        captioner.options(**options)  # complains before it is in a batch
        request = _Request(captioner, photo, options, visitor)
        with self._lock:
            self._waiting.append(request)
        CORES.submit(self._answer_next)
        return request.answer.result()

    def _answer_next(self) -> None:
        """A batch for the request that waits longest, if one still does."""
        with self._lock:
            if not self._waiting:
                return
            first = self._waiting[0]
            batch = [request for request in self._waiting if request.fits(first)][:BATCH]
            for request in batch:
                self._waiting.remove(request)
        _answer(batch)


def _answer(batch: Sequence[_Request]) -> None:
    """Give each request its caption, or what is in the way of it."""
    for request in batch:
        if trouble := request.visitor.trouble():
            request.answer.set_exception(trouble)
    batch = [request for request in batch if not request.answer.done()]
    if not batch:
        return
    try:
        captions = _captions(batch)
    except BaseException as error:  # also a panic of Rust: they must not wait for ever
        if len(batch) == 1:
            told = error if isinstance(error, Exception) else RuntimeError(repr(error))
            batch[0].answer.set_exception(told)
        else:  # one by one, so that only the one in trouble fails
            for request in batch:
                _answer([request])
    else:
        for request, caption in zip(batch, captions, strict=True):
            request.answer.set_result(caption)


def _captions(batch: Sequence[_Request]) -> list[Caption]:
    """Stops between two tokens once no visitor waits any more."""

    def check() -> None:
        troubles = [request.visitor.trouble() for request in batch]
        if all(troubles):
            raise troubles[0]

    first = batch[0]
    photos = [request.photo for request in batch]
    results = first.captioner.captions(photos, on_step=check, **first.options)
    return [captions[0] for captions in results]
