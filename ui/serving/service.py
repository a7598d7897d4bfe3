"""The page as a service: what a load balancer asks, and an end that loses no answer."""

import errno
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from ui.errors import user_error
from ui.gradio_internals import get_upload_folder, is_queue_busy

GRACE_SECONDS = 25.0  # for what is running; hosts usually kill after 30
SENDING_SECONDS = 0.5  # until the last answer has gone out, which gradio does not tell
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
    return JSONResponse({"detail": f"{line}; see /gradio_api/info for what there is"}, status)


def check_upload_folder() -> None:
    """Raise OSError, in one line, if visitors' photos cannot be kept while they are captioned."""
    folder = Path(get_upload_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{folder}: photos cannot be kept there while they are captioned ({error.strerror}); "
            "set GRADIO_TEMP_DIR to a folder that can be written"
        ) from error


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
