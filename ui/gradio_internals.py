"""All that the page patches in gradio, or reads from its internals (gradio 6).

`install` first checks that each name is there. Otherwise a name that another version of gradio
lacks would fail silently: the limit on downloads, for example, would no longer apply.
"""

import errno
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import gradio as gr
from anyio import create_task_group, to_thread
from anyio._backends._asyncio import WorkerThread
from gradio import (
    exceptions,
    processing_utils,
    queueing,
    route_utils,
    routes,
    state_holder,
    utils,
)
from pydantic import ValidationError
from starlette.routing import Match

from ui.errors import log_trace, report_fault, user_error
from ui.gradio_queue import Shares, list_queue_names, note_queued_request, use_shared_queue

log = logging.getLogger("captionlens")
# What the page and gradio's clients ask for. Not: /run and /api, which pass the queue by, and what
# gradio has for other pages (recordings, streams, monitoring, editing, proxies).
STREAM_ROUTES = (
    "/gradio_api/queue/data",
    "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/call/v2/{api_name}/{event_id}",
)
UPLOAD_ROUTE = "/gradio_api/upload"
OPEN_ROUTES = (
    *STREAM_ROUTES,
    UPLOAD_ROUTE,
    "/",
    "/config",
    "/theme.css",
    "/static/{path:path}",
    "/assets/{path:path}",
    "/favicon.ico",
    "/robots.txt",
    "/manifest.json",
    "/pwa_icon",
    "/pwa_icon/{size}",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/app_id",
    "/gradio_api/startup-events",
    "/gradio_api/theme.css",
    "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/queue/join",
    "/gradio_api/queue/status",
    "/gradio_api/call/{api_name}",
    "/gradio_api/call/v2/{api_name}",
    "/gradio_api/cancel",
    "/gradio_api/reset",
    "/gradio_api/upload_progress",
    "/gradio_api/file={path_or_url:path}",
)
# There if GRADIO_MCP_SERVER is set
MCP_ROUTES = ("/gradio_api/mcp", "/gradio_api/mcp/{path:path}")
_Session = getattr(state_holder, "SessionState", object)  # `list_internal_names` has it
FILE_FORMAT = '{"path": its address, "meta": {"_type": "gradio.FileData"}}'


def list_internal_names() -> Iterator[tuple[Any, str]]:
    """Each name that this module relies on, with the object that must have it."""
    yield from list_queue_names()
    yield processing_utils, "async_ssrf_protected_download"
    yield processing_utils, "save_bytes_to_cache"
    yield utils, "get_upload_folder"
    for module in (queueing, routes):
        yield module, "traceback"
    for module in (queueing, utils):
        yield module, "error_payload"
    yield exceptions, "AppError"
    yield exceptions, "InvalidPathError"
    yield route_utils, "FnIndexInferError"
    for module in (state_holder, route_utils):
        yield module, "SessionState"
    for name in ("_update_config", "_update_value_in_config"):
        yield _Session, name
    yield _Session(gr.Blocks(analytics_enabled=False)), "config_values"
    yield WorkerThread, "MAX_IDLE_TIME"
    yield gr.Blocks, "preprocess_data"
    yield gr.Blocks, "process_api"
    yield gr.Blocks(analytics_enabled=False), "temp_file_sets"
    yield gr.Image, "preprocess"
    yield gr.EventData(None, None), "_data"


def check_internal_names() -> None:
    """Raise RuntimeError, with gradio's version and the name or route, if one is not there."""
    for owner, name in list_internal_names():
        if not hasattr(owner, name):
            described = getattr(owner, "__name__", type(owner).__name__)
            _complain(f"{described}.{name}")
    app = routes.App.create_app(gr.Blocks(analytics_enabled=False))
    for path in OPEN_ROUTES:
        if not _has_route(app, re.sub(r"{.*?}", "x", path)):
            _complain(f"route {path}")


def _complain(missing: str) -> None:
    raise RuntimeError(
        f"gradio {gr.__version__} has no {missing}, which the page relies on; "
        "install a version that requirements.txt allows"
    )


def _has_route(app: routes.App, path: str) -> bool:
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is not Match.NONE for route in app.routes)


def install(download: Callable[[str, str], Any], shares: Shares) -> None:
    """Patch gradio, whatever the page.

    Visitors share the queue of every page that is built from now on as `shares` says.

    Files that are given by their address are fetched with `download`: an async function of the
    address and the folder for our copy, which returns its path.

    What goes wrong outside of our handlers is one line for the visitor. The log has where it did,
    but not gradio's trace, in which a visitor's words would stand.
    """
    check_internal_names()
    use_shared_queue(shares)
    processing_utils.async_ssrf_protected_download = lambda url, cache_dir: download(url, cache_dir)
    for module in (queueing, routes):
        module.traceback = SimpleNamespace(print_exc=_log_place)
    for module in (queueing, utils):
        module.error_payload = describe_error
    for module in (state_holder, route_utils):
        module.SessionState = LeanSession


class LeanSession(_Session):
    """What gradio keeps of a visitor, without the settings and last values of each component.

    Those are for its deep links, which are closed; they take 180 kB of each visitor, and as much as
    a photo that is sent inside a request.
    """

    def __init__(self, blocks: gr.Blocks):
        super().__init__(blocks)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


_describe_app_error = getattr(utils, "error_payload", None)  # `install` checks that it is there


def describe_error(error: BaseException | None, show_error: bool) -> dict[str, Any]:
    """What a caller gets for an error: its message, or a number that stands in the log."""
    if isinstance(error, exceptions.AppError):
        log_trace(error)
    else:
        error = report_fault(error)
    return _describe_app_error(error, show_error)


def _log_place() -> None:
    kind, error, trace = sys.exc_info()
    if error is None:
        return
    last = traceback.extract_tb(trace)[-1]
    log.error("%s at %s:%s", kind.__name__, last.filename, last.lineno)


class CheckedBlocks(gr.Blocks):
    """A page that checks the values of each request before gradio reads them."""

    # Set by a subclass: returns the values for the components, or raises gr.Error.
    check_values: Callable[[Sequence[Any], Sequence[Any]], list[Any]]

    async def process_api(self, *args: Any, event_id: str | None = None, **kwargs: Any):
        """As gradio's, but who asks is known while the values are read, not only to the handler."""
        note_queued_request(event_id)
        return await super().process_api(*args, event_id=event_id, **kwargs)

    async def preprocess_data(self, block_fn, inputs: list[Any], *args: Any, **kwargs: Any):
        """The handler's arguments; raises gr.Error for values that make none."""
        inputs = self.check_values(block_fn.inputs, inputs)
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except (ValidationError, exceptions.InvalidPathError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
                raise
            message = f"A file in this request cannot be read; give it as {FILE_FORMAT}"
            raise user_error(message) from error


def set_preprocess(component: gr.components.Component, preprocess: Callable[[Any], Any]) -> None:
    """Have a function make the handler's argument of what was sent, in place of gradio's own."""
    component.preprocess = preprocess


def read_event_data(event: gr.EventData) -> Any:
    """What a page sent with its event."""
    return event._data


def get_upload_folder() -> str:
    """Where gradio keeps visitors' files."""
    return utils.get_upload_folder()


def set_upload_folder(folder: Path) -> None:
    """Have gradio keep visitors' files there, for a page that is built afterwards."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)


async def start_worker_threads() -> None:
    """Start all threads that gradio may ever use for handlers and files, and have them stay: their
    number says no more how many visitors there were."""
    WorkerThread.MAX_IDLE_TIME = math.inf
    num_threads = int(to_thread.current_default_thread_limiter().total_tokens)
    all_there = Barrier(num_threads)
    async with create_task_group() as group:
        for _ in range(num_threads):
            group.start_soon(to_thread.run_sync, all_there.wait)


def forget_deleted_files(page: gr.Blocks) -> None:
    """Forget the addresses of visitors' files that are gone; gradio would keep them all."""
    for paths in page.temp_file_sets:
        paths -= {path for path in list(paths) if not os.path.lexists(path)}


def save_to_cache(content: bytes, name: str, folder: str | None = None) -> str:
    """Write a file to gradio's folder, which it serves and cleans; returns the path."""
    return processing_utils.save_bytes_to_cache(content, name, folder or get_upload_folder())


def get_request_errors() -> tuple[type[Exception], ...]:
    """What gradio raises for endpoints and arguments that the page does not have."""
    return route_utils.FnIndexInferError, KeyError, TypeError
