"""The processor's cores, shared among the answers that run at the same time.

What models compute runs in a few threads that stay, two of them at a time. Alone, an answer has all
cores. Two at once have half of them each: that gives more answers a second than all for each. Those
that are more than two take turns, a step at a time, so that a short answer never waits for the end
of a long one. (Threads that come and go, as gradio's do, would each keep a team of their own for
their cores: one photo takes 1.9 times as long so.)
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from threading import Condition, Thread, current_thread
from typing import Any

import torch

NUM_AT_ONCE = 2
NUM_THREADS = 12  # so many answers may have begun: see the limits in `ui.serving.requests`


class CoreExecutor:
    """Threads that take work in the order in which it comes, and turns at the cores."""

    def __init__(self):
        self._num_cores = torch.get_num_threads()
        torch.set_num_threads(1)  # so that this thread, where models are loaded, keeps no team
        self._waiting: deque[tuple[Future, Callable[[], Any]]] = deque()
        self._turns: deque[object] = deque()  # one for each thread that waits for the cores
        self._num_running = 0
        self._changed = Condition()
        self._threads = [
            Thread(target=self._work, args=(i,), name=f"cores {i}", daemon=True)
            for i in range(NUM_THREADS)
        ]
        self._is_busy = [False] * NUM_THREADS
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
        """Have this run, with the context variables of the caller."""
        future: Future = Future()
        with self._changed:
            call = partial(copy_context().run, function, *args, **kwargs)
            self._waiting.append((future, call))
            self._changed.notify_all()
        return future

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `submit`, and wait for what it returns or raises."""
        return self.submit(function, *args, **kwargs).result()

    def take_turns(self) -> None:
        """Between two steps of an answer: let those go on that wait for the cores."""
        if self._turns and current_thread() in self._threads:
            with self._changed:
                self._num_running -= 1
                turn = self._join_turns()
            self._wait_for_cores(turn)

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let others have the cores while this thread waits for something else."""
        if current_thread() not in self._threads:
            yield
            return
        with self._changed:
            self._num_running -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                turn = self._join_turns()
            self._wait_for_cores(turn)

    def _join_turns(self) -> object:
        """Stand last among those that wait for the cores (while `_changed` is held)."""
        turn = object()
        self._turns.append(turn)
        self._changed.notify_all()
        return turn

    def _wait_for_cores(self, turn: object) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._num_running < NUM_AT_ONCE and self._turns[0] is turn
            )
            self._turns.popleft()
            self._num_running += 1
            is_alone = self._num_running == 1 and not self._turns
            self._changed.notify_all()
        torch.set_num_threads(self._num_cores if is_alone else max(1, self._num_cores // 2))

    def _work(self, index: int) -> None:
        while True:
            with self._changed:
                # the first thread that is free: alone, an answer has always the same one's team
                self._changed.wait_for(lambda: self._waiting and all(self._is_busy[:index]))
                future, call = self._waiting.popleft()
                self._is_busy[index] = True
                turn = self._join_turns()
            self._wait_for_cores(turn)
            result = error = None
            try:
                result = call()
            except Exception as raised:
                error = raised
            except BaseException as raised:  # such as a panic of tokenizers' Rust
                error = RuntimeError(repr(raised))
            with self._changed:
                self._num_running -= 1
                self._is_busy[index] = False
                self._changed.notify_all()
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del future, call, result, error  # a photo may hang on them


CORES = CoreExecutor()
