"""The page as a service: what a load balancer asks, and an end that loses no answer."""

import errno
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from ui.errors import complaint

GRACE = 25.0  # seconds for what is running; hosts usually kill after 30
NO_PLACE = (errno.ENOENT, errno.ENAMETOOLONG)  # what an address may ask for
SENDING = 0.5  # seconds until the last answer has gone out, which gradio does not tell
_closing = Event()
log = logging.getLogger("captionlens")


def check_open() -> None:
    """Raises a gr.Error, in one line, once the page is about to end."""
    if _closing.is_set():
        raise complaint("This page is restarting. Try again in a minute.")


async def health(request: Request) -> JSONResponse:
    """200 while requests are taken, then 503."""
    if _closing.is_set():
        return JSONResponse({"status": "closing"}, 503)
    return JSONResponse({"status": "ok"})


async def no_room(request: Request, error: OSError) -> PlainTextResponse:
    """For an upload that the disk does not take: the page shows it in a toast."""
    if error.errno in NO_PLACE:
        return PlainTextResponse("Not found", 404)
    log.error("no room: %s", error.strerror)
    return PlainTextResponse("There is no room for photos at the moment. Try again later.", 507)


def check_upload_folder() -> None:
    """Raises OSError, in one line, where visitors' photos cannot be put for the moment."""
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


def finish(page: gr.Blocks) -> Callable[..., None]:
    """What to do at a SIGTERM: take nothing new, finish what is running, close."""

    def close(*_) -> None:
        _closing.set()
        queue, until = page._queue, time.monotonic() + GRACE
        while (len(queue) or any(queue.active_jobs)) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(SENDING)
        page.close(verbose=False)

    return close
