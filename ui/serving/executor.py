"""The processor's cores, shared among the answers that run at the same time.

What models compute runs in a few threads that stay, two of them at a time. Alone, an answer has all
cores. Two at once have half of them each: that gives more answers a second than all for each. Those
that are more than two take turns, a step at a time, so that a short answer never waits for the end
of a long one. The next turn is that of the address that has lately had the cores least, and who has
had them much more than those who are at them waits: so one that asks for much, by however many
requests, takes no more from the others than its share. (Each thread keeps a team of threads for its
cores. With new ones for each photo, as gradio would, one takes 1.9 times as long.)
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread, local
from typing import Any

import torch

from ui.serving.core_usage import CoreUsage

NUM_AT_ONCE = 2
# So many answers may have begun, of all events that compute. With fewer threads, an address whose
# answers have begun and wait would keep all others from beginning.
NUM_THREADS = 24
NUM_WITH_ALL_CORES = 4  # those that work beyond a crowd; the others' teams are half as large
MAX_AHEAD = 1.0  # seconds that one may have had the cores longer than another, and run beside it
_ADDRESSES: ContextVar[tuple[str, ...]] = ContextVar("addresses", default=())


@contextmanager
def work_for_addresses(addresses: Collection[str]) -> Iterator[None]:
    """What is submitted, or takes turns, within the block is for visitors of these addresses."""
    token = _ADDRESSES.set(tuple(addresses))
    try:
        yield
    finally:
        _ADDRESSES.reset(token)


@dataclass(eq=False)
class _Turn:
    """A turn at the cores, for visitors of these addresses; `start` once it has begun."""

    addresses: tuple[str, ...]
    may_have_all: bool  # of the cores
    start: float | None = None
    num_cores: int = 0


class CoreExecutor:
    """Threads that take work in the order in which it comes, and turns at the cores."""

    def __init__(self):
        self._num_cores = torch.get_num_threads()
        torch.set_num_threads(1)  # so that this thread, where models are loaded, keeps no team
        self._changed = Condition()  # all below is read and written while it is held
        self._waiting: deque[tuple[Future, Callable[[], Any], tuple[str, ...]]] = deque()
        self._turns: list[_Turn] = []  # of the threads that wait for the cores
        self._running: list[_Turn] = []
        self._usage = CoreUsage()
        self._is_busy = [False] * NUM_THREADS
        self._own = local()  # each of our threads' own index and turn
        for i in range(NUM_THREADS):
            Thread(target=self._work, args=(i,), name=f"cores {i}", daemon=True).start()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
        """Have this run, with the context variables of the caller."""
        future: Future = Future()
        with self._changed:
            call = partial(copy_context().run, function, *args, **kwargs)
            self._waiting.append((future, call, _ADDRESSES.get()))
            self._changed.notify_all()
        return future

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `submit`, and wait for what it returns or raises."""
        return self.submit(function, *args, **kwargs).result()

    def take_turns(self) -> None:
        """Between two steps of an answer: let those go on whose turn it is."""
        if self._turns and hasattr(self._own, "turn"):
            with self._changed:
                self._end_turn()
                self._wait_for_cores(_ADDRESSES.get())

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let others have the cores while this thread waits for something else."""
        if not hasattr(self._own, "turn"):
            yield
            return
        with self._changed:
            self._end_turn()
            self._begin_turns()
        try:
            yield
        finally:
            with self._changed:
                self._wait_for_cores(_ADDRESSES.get())

    def _wait_for_cores(self, addresses: tuple[str, ...]) -> None:
        turn = _Turn(addresses, self._own.index < NUM_WITH_ALL_CORES)
        self._turns.append(turn)
        self._begin_turns()
        self._changed.wait_for(lambda: turn.start is not None)
        self._own.turn = turn
        torch.set_num_threads(turn.num_cores)

    def _end_turn(self) -> None:
        """Give the cores back."""
        turn = self._own.turn
        self._running.remove(turn)
        self._usage.add(turn.addresses, time.monotonic() - turn.start)

    def _begin_turns(self) -> None:
        """Let those begin who may."""
        while turn := self._find_next():
            self._turns.remove(turn)
            self._running.append(turn)
            turn.start = time.monotonic()
            is_alone = len(self._running) == 1 and not self._find_next()
            has_all = is_alone and turn.may_have_all
            turn.num_cores = self._num_cores if has_all else max(1, self._num_cores // 2)
        self._changed.notify_all()

    def _find_next(self) -> _Turn | None:
        """Whose turn it is, if anyone may run beside those that do."""
        if not self._turns or len(self._running) == NUM_AT_ONCE:
            return None
        best = min(self._turns, key=lambda turn: self._usage.get(turn.addresses))
        used = [self._usage.get(turn.addresses) for turn in self._running]
        if used and self._usage.get(best.addresses) > min(used) + MAX_AHEAD:
            return None
        return best

    def _work(self, index: int) -> None:
        self._own.index = index
        if index < NUM_WITH_ALL_CORES:
            _start_team(self._num_cores)
        while True:
            with self._changed:
                # the first thread that is free: alone, an answer has always the same one's team
                self._changed.wait_for(lambda: self._waiting and all(self._is_busy[:index]))
                future, call, addresses = self._waiting.popleft()
                self._is_busy[index] = True
                self._changed.notify_all()
                self._wait_for_cores(addresses)
            result = error = None
            try:
                result = call()
            except Exception as raised:
                error = raised
            except BaseException as raised:  # such as a panic of tokenizers' Rust
                error = RuntimeError(repr(raised))
            with self._changed:
                self._end_turn()
                self._is_busy[index] = False
                self._begin_turns()
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del future, call, result, error  # a photo may hang on them


def _start_team(num_cores: int) -> None:
    """Have this thread's team there from the start, by work that is enough for each of it."""
    torch.set_num_threads(num_cores)
    torch.zeros(num_cores * 2**16).add_(1)  # shared out by pieces of 2^15


CORES = CoreExecutor()
