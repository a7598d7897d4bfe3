"""The page as a service: what a load balancer asks, and an end that loses no answer."""

import errno
import logging
import time
from collections.abc import Callable
from threading import Event

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from ui.errors import user_error
from ui.gradio_queue import is_queue_busy

GRACE_SECONDS = 25.0  # for what is running; hosts usually kill after 30
SENDING_SECONDS = 0.5  # until the last answer has gone out, which gradio does not tell
SEE_INFO = "see /gradio_api/info for what there is"
NO_SUCH_FILE = (errno.ENOENT, errno.ENAMETOOLONG)  # what an address may ask for
_closing = Event()
log = logging.getLogger("captionlens")


def check_open() -> None:
    """Raise a gr.Error, in one line, once the page is about to end."""
    if _closing.is_set():
        raise user_error("This page is restarting. Try again in a minute.")


async def answer_health(request: Request) -> JSONResponse:
    """200 while requests are taken, then 503."""
    if _closing.is_set():
        return JSONResponse({"status": "closing"}, 503)
    return JSONResponse({"status": "ok"})


async def answer_os_error(request: Request, error: OSError) -> PlainTextResponse:
    """For a file that is not there, or an upload that finds no room: the page shows a toast."""
    if error.errno in NO_SUCH_FILE:
        return PlainTextResponse("Not found", 404)
    log.error("no room: %s", error.strerror)
    return PlainTextResponse("There is no room for photos at the moment. Try again later.", 507)


async def answer_unknown_request(request: Request, error: Exception) -> JSONResponse:
    """For an endpoint that the page does not have, or arguments that it does not take."""
    problem = "no such endpoint" if isinstance(error, KeyError) else str(error)
    line = " ".join(problem.split())
    status = 422 if isinstance(error, TypeError) else 404
    return JSONResponse({"detail": f"{line}; {SEE_INFO}"}, status)


async def answer_invalid_body(request: Request, error: RequestValidationError) -> JSONResponse:
    """For a body that is no request: where it is wrong, in one line that quotes nothing of it."""
    problems = {
        f"{'.'.join(map(str, problem['loc'][:2]))}: {problem['msg']}" for problem in error.errors()
    }
    return JSONResponse({"detail": f"{'; '.join(sorted(problems))[:500]}; {SEE_INFO}"}, 422)


def make_shutdown_handler(page: gr.Blocks) -> Callable[..., None]:
    """The handler of SIGTERM: take nothing new, finish what is running, close."""

    def shut_down(*_) -> None:
        _closing.set()
        deadline = time.monotonic() + GRACE_SECONDS
        while is_queue_busy(page) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(SENDING_SECONDS)
        page.close(verbose=False)

    return shut_down
