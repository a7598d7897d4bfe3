"""Every answer to a visitor's request: one line in the log, and no trace on the page.

The log holds neither photos nor names nor a word that a visitor wrote.
"""

import functools
import inspect
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import gradio as gr
from PIL import Image

from ui.serving.cancellation import MAX_SECONDS, Left, Visitor, asked_by, still_wanted
from ui.serving.captioners import Captioners
from ui.serving.executor import CORES
from ui.serving.gpu import on_gpu
from ui.serving.request_checks import went_wrong
from ui.serving.service import check_open

log = logging.getLogger("captionlens")
_END = object()


def answers(
    captioners: Captioners, *, seconds: float = MAX_SECONDS, in_turn: bool = True
) -> Callable[[Callable], Callable]:
    """Decorates what answers a request. What goes wrong on our side reaches the visitor as one line
    with a number, which stands beside the trace in the log.

    seconds: that an answer may take, see `visitor.still_wanted`.
    in_turn: whether it takes turns with the others on `CORES`, a step at a time; else it waits for
        something that does.
    """

    def decorate(handler: Callable) -> Callable:
        kind = f"{handler.__module__.removeprefix('ui.')}.{handler.__name__}"
        run = on_gpu(handler) if in_turn else handler

        def wanted(*given, **named):
            still_wanted()  # its turn may come when the visitor has left
            return run(*given, **named)

        def wanted_step(steps):
            still_wanted()
            return next(steps, _END)

        @functools.wraps(handler)
        def answer(*given, **named):
            with logged(kind, captioners, (*given, *named.values())):
                check_open()
                with asked_by(Visitor(seconds)):
                    return CORES.run(wanted, *given, **named) if in_turn else run(*given, **named)

        @functools.wraps(handler)
        def answer_in_steps(*given, **named):
            with logged(kind, captioners, (*given, *named.values())):
                check_open()
                visitor = Visitor(seconds)
                with closing(run(*given, **named)) as steps:
                    while True:
                        with asked_by(visitor):  # anew: each step may be in another thread
                            step = CORES.run(wanted_step, steps)
                        if step is _END:
                            return
                        yield step

        return answer_in_steps if inspect.isgeneratorfunction(handler) else answer

    return decorate


@contextmanager
def logged(kind: str, captioners: Captioners, given: tuple[Any, ...]) -> Iterator[None]:
    """Write what was asked, of which captioner, the photo's size, the time, and how it ended."""
    begun, outcome = time.perf_counter(), "done"
    try:
        yield
    except Left:
        outcome = "cancelled"
        raise
    except gr.Error:  # a line that says what the visitor can do
        outcome = "refused"
        raise
    except Exception as error:
        number = secrets.token_hex(4)
        outcome = f"failed, {number}"
        log.exception("%s", number)
        raise went_wrong(number) from error
    except BaseException:  # the visitor has left, or the program ends
        outcome = "cancelled"
        raise
    finally:
        photo = next((x for x in given if isinstance(x, Image.Image)), None)
        size = f"{photo.width} × {photo.height}" if photo else "no photo"
        names = [x for x in given if isinstance(x, str) and x in captioners.names]
        seconds = time.perf_counter() - begun
        log.info("%s: %s; %s; %.2f s; %s", kind, ", ".join(names) or "-", size, seconds, outcome)
