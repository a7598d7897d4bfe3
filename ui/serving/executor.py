"""The processor's cores, shared among the answers that run at the same time.

What models compute runs in one of two threads. Alone, an answer has all cores. Two at once have
half of them each: that gives more answers a second than all for each, and one long answer does not
hold up the others. (Threads that come and go, as gradio's do, would each keep a team of their own
for their cores: one photo takes 1.9 times as long so.)
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from threading import Condition, Thread
from typing import Any

import torch


class CoreExecutor:
    """Two threads that take work in the order in which it comes."""

    def __init__(self):
        self._num_cores = torch.get_num_threads()
        torch.set_num_threads(1)  # so that this thread, where models are loaded, keeps no team
        self._waiting: deque[tuple[Future, Callable[[], Any]]] = deque()
        self._is_busy = [False, False]
        self._changed = Condition()
        for lane in (0, 1):
            Thread(target=self._work, args=(lane,), name=f"cores {lane}", daemon=True).start()

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

    def _work(self, lane: int) -> None:
        while True:
            with self._changed:
                # the second thread is for when the first is busy: only that one gets all cores
                self._changed.wait_for(lambda: self._waiting and (lane == 0 or self._is_busy[0]))
                future, call = self._waiting.popleft()
                is_alone = not any(self._is_busy)
                self._is_busy[lane] = True
                self._changed.notify_all()
            torch.set_num_threads(self._num_cores if is_alone else max(1, self._num_cores // 2))
            try:
                result = call()
            except Exception as error:
                future.set_exception(error)
            except BaseException as error:  # such as a panic of tokenizers' Rust
                future.set_exception(RuntimeError(repr(error)))
            else:
                future.set_result(result)
                del result
            del future, call  # a photo may hang on them
            with self._changed:
                self._is_busy[lane] = False
                self._changed.notify_all()


CORES = CoreExecutor()
