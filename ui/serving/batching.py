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
from ui.serving.executor import CORES, work_for_addresses

BATCH_SIZE = 8


@dataclass(frozen=True, eq=False)
class _Request:
    captioner: Captioner
    photo: Image.Image
    options: dict[str, Any]
    visitor: Visitor
    result: Future = field(default_factory=Future)

    def can_share_batch(self, other: "_Request") -> bool:
        return self.captioner is other.captioner and self.options == other.options


class CaptionBatcher:
    """Takes photos from any number of threads, and captions those that wait together."""

    def __init__(self):
        self._waiting: deque[_Request] = deque()
        self._lock = Lock()

    def caption(
        self, captioner: Captioner, photo: Image.Image, visitor: Visitor, **options: Any
    ) -> Caption:
        """The same as `captioner.caption(photo, **options)`.

        Raises what that raises for this photo, never for another one's, and what
        `Visitor.check_still_waiting` does.
        """
        captioner.options(**options)  # wrong ones raise here, before they are in a batch
        request = _Request(captioner, photo, options, visitor)
        with self._lock:
            self._waiting.append(request)
        CORES.submit(self._caption_with_others, request)
        return request.result.result()

    def count_waiting(self) -> int:
        """How many photos are in no batch yet."""
        with self._lock:
            return len(self._waiting)

    def _caption_with_others(self, first: _Request) -> None:
        """Caption a photo whose turn it is, with those that wait longest of all that can share its
        batch; nothing to do, if it was in an earlier one."""
        with self._lock:
            if first not in self._waiting:
                return
            self._waiting.remove(first)
            others = [request for request in self._waiting if request.can_share_batch(first)]
            batch = [first, *others[: BATCH_SIZE - 1]]
            for request in batch[1:]:
                self._waiting.remove(request)
        _answer(batch)


def _answer(batch: Sequence[_Request]) -> None:
    """Give each request its caption, or the error that keeps it from one."""
    for request in batch:
        if reason := request.visitor.stop_reason():
            request.result.set_exception(reason)
    batch = [request for request in batch if not request.result.done()]
    if not batch:
        return
    try:
        captions = _caption_batch(batch)
    except BaseException as error:  # also a panic of Rust: nobody may wait for ever
        if len(batch) == 1:
            is_plain = isinstance(error, Exception)
            batch[0].result.set_exception(error if is_plain else RuntimeError(repr(error)))
        else:  # one by one, so that only the one that cannot be captioned fails
            for request in batch:
                _answer([request])
    else:
        for request, caption in zip(batch, captions, strict=True):
            request.result.set_result(caption)


def _caption_batch(batch: Sequence[_Request]) -> list[Caption]:
    """The captions; others have a turn between two tokens, and it stops there once no visitor waits
    any more."""

    def stop_if_abandoned() -> None:
        CORES.take_turns()
        reasons = [request.visitor.stop_reason() for request in batch]
        if all(reasons):
            raise reasons[0]

    first = batch[0]
    photos = [request.photo for request in batch]
    with work_for_addresses({request.visitor.address for request in batch}):
        results = first.captioner.captions(photos, on_step=stop_if_abandoned, **first.options)
    return [captions[0] for captions in results]
