"""How every request is answered: one line in the log, and no trace on the page.

The log holds neither photos nor names of files nor a word that a visitor wrote.
"""

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import gradio as gr
from PIL import Image

from ui.errors import report_fault, user_errors
from ui.serving.cancellation import (
    MAX_SECONDS,
    RequestCancelled,
    Visitor,
    check_still_waiting,
    work_for,
)
from ui.serving.captioners import Captioners
from ui.serving.executor import CORES
from ui.serving.gpu import on_gpu
from ui.serving.runs import Runs
from ui.serving.service import check_open

log = logging.getLogger("captionlens")
_END = object()

# Settings for the page's own events: not part of the API, and only a toast says what went wrong,
# where gradio's progress would also stamp "Error" on each output.
PAGE_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Settings for events that run a model: a few at a time for all visitors, which take turns at the
# cores, so that a slow one does not hold up the rest.
MODEL_EVENT: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "model"}
# Settings for those of which only the newest counts; they get the visitor's `Runs`.
NEWEST_EVENT: dict[str, Any] = {**MODEL_EVENT, "trigger_mode": "multiple"}
MANY_EVENT: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "many"}  # of many photos
MANY_SECONDS = 1800.0  # for all of a visitor's photos


def request_handler(
    captioners: Captioners, *, seconds: float = MAX_SECONDS, on_cores: bool = True
) -> Callable[[Callable], Callable]:
    """Decorates a function that answers requests, at once or as a generator.

    A CaptionLensError reaches the visitor as one line. A fault of the program is a line with a
    number, which stands in the log beside where it happened.

    seconds: the time limit, see `Visitor`.
    A handler that gets the visitor's `Runs` begins a run. Once a newer one has begun, its work ends
    and its answer is kept back, and so is what it raises.

    on_cores: run the function on `CORES`, a generator step by step; otherwise in gradio's thread,
        for a function that only waits for something on `CORES`.
    """

    def decorate(handler: Callable) -> Callable:
        name = f"{handler.__module__.removeprefix('ui.')}.{handler.__name__}"
        run = on_gpu(handler) if on_cores else handler

        def run_if_wanted(*args, **kwargs):
            check_still_waiting()  # the visitor may have left before the turn came
            return run(*args, **kwargs)

        def run_step_if_wanted(steps):
            check_still_waiting()
            return next(steps, _END)

        @functools.wraps(handler)
        def answer(*args, **kwargs):
            visitor = Visitor(seconds, is_newest := _begin_run(args))
            try:
                with _log_request(name, captioners, (*args, *kwargs.values())):
                    check_open()
                    with work_for(visitor):
                        if on_cores:
                            result = CORES.run(run_if_wanted, *args, **kwargs)
                        else:
                            result = run(*args, **kwargs)
                    if not is_newest():
                        raise RequestCancelled()
                    return result
            except Exception:
                if is_newest():
                    raise
                return gr.skip()

        @functools.wraps(handler)
        def answer_in_steps(*args, **kwargs):
            visitor = Visitor(seconds, is_newest := _begin_run(args))
            try:
                with _log_request(name, captioners, (*args, *kwargs.values())):
                    check_open()
                    with closing(run(*args, **kwargs)) as steps:
                        while True:
                            with work_for(visitor):  # set anew: each step may be in another thread
                                step = CORES.run(run_step_if_wanted, steps)
                            if step is _END:
                                return
                            if not is_newest():
                                raise RequestCancelled()
                            yield step
            except Exception:
                if is_newest():
                    raise
                yield gr.skip()  # else the page would be told the last step once more

        return answer_in_steps if inspect.isgeneratorfunction(handler) else answer

    return decorate


def _begin_run(values: tuple[Any, ...]) -> Callable[[], bool]:
    """Begin a run where the values tell of runs; returns whether it is still the newest."""
    runs = next((value for value in values if isinstance(value, Runs)), None)
    return runs.begin() if runs else lambda: True


@contextmanager
def _log_request(name: str, captioners: Captioners, values: tuple[Any, ...]) -> Iterator[None]:
    """Log the handler, the captioner, the photo's size, the time and how it ended."""
    start, outcome = time.perf_counter(), "done"
    try:
        with user_errors():
            yield
    except RequestCancelled:
        outcome = "cancelled"
        raise
    except gr.Error:  # a line that says what the visitor can do
        outcome = "refused"
        raise
    except Exception as error:
        fault = report_fault(error)
        outcome = f"failed, {fault.number}"
        raise fault from error
    except BaseException:  # the visitor has left, or the program ends
        outcome = "cancelled"
        raise
    finally:
        photo = next((value for value in values if isinstance(value, Image.Image)), None)
        size = f"{photo.width} × {photo.height}" if photo else "no photo"
        names = [value for value in values if isinstance(value, str) and value in captioners.names]
        seconds = time.perf_counter() - start
        log.info("%s: %s; %s; %.2f s; %s", name, ", ".join(names) or "-", size, seconds, outcome)
