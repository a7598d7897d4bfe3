"""All that the page patches in gradio, or reads from its internals (gradio 6).

`install` first checks that each name is there. Otherwise a name that another version of gradio
lacks would fail silently: the limit on downloads, for example, would no longer apply.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import (
    block_function,
    context,
    exceptions,
    processing_utils,
    queueing,
    route_utils,
    routes,
    utils,
)
from pydantic import ValidationError

from ui.errors import log_trace, report_fault, user_error

log = logging.getLogger("captionlens")
FILE_FORMAT = '{"path": its address, "meta": {"_type": "gradio.FileData"}}'


def list_internal_names() -> Iterator[tuple[Any, str]]:
    """Each name that this module relies on, with the object that must have it."""
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
    yield context, "LocalContext"
    yield context.LocalContext, "blocks"
    yield context.LocalContext, "event_id"
    yield gr.Blocks, "preprocess_data"
    yield gr.Image, "preprocess"
    yield gr.EventData(None, None), "_data"
    yield SimpleNamespace(**signature(block_function.BlockFunction).parameters), "cancels"
    page = gr.Blocks(analytics_enabled=False).queue()
    yield page, "_queue"
    yield page._queue, "__len__"
    yield page._queue, "active_jobs"
    yield page._queue, "event_ids_to_events"
    yield page._queue, "pending_event_ids_session"
    event = queueing.Event("session", SimpleNamespace(concurrency_id="x"), None, None)
    yield event, "_id"
    yield event, "alive"
    yield event, "session_hash"


def check_internal_names() -> None:
    """Raise RuntimeError, with gradio's version and the name, if one is not there."""
    for owner, name in list_internal_names():
        if not hasattr(owner, name):
            described = getattr(owner, "__name__", type(owner).__name__)
            raise RuntimeError(
                f"gradio {gr.__version__} has no {described}.{name}, which the page relies on; "
                "install a version that requirements.txt allows"
            )


def install(download: Callable[[str, str], Any]) -> None:
    """Patch gradio, whatever the page.

    Files that are given by their address are fetched with `download`: an async function of the
    address and the folder for our copy, which returns its path.

    What goes wrong outside of our handlers is one line for the visitor. The log has where it did,
    but not gradio's trace, in which a visitor's words would stand.
    """
    check_internal_names()
    processing_utils.async_ssrf_protected_download = lambda url, cache_dir: download(url, cache_dir)
    for module in (queueing, routes):
        module.traceback = SimpleNamespace(print_exc=_log_place)
    for module in (queueing, utils):
        module.error_payload = describe_error


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

    async def preprocess_data(self, block_fn, inputs: list[Any], *args: Any, **kwargs: Any):
        """The handler's arguments; raises gr.Error for values that make none."""
        if not block_fn.cancels:  # those get a visitor's session from gradio itself
            inputs = self.check_values(block_fn.inputs, inputs)
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except (ValidationError, exceptions.InvalidPathError) as error:
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


def save_to_cache(content: bytes, name: str, folder: str | None = None) -> str:
    """Write a file to gradio's folder, which it serves and cleans; returns the path."""
    return processing_utils.save_bytes_to_cache(content, name, folder or get_upload_folder())


def is_queue_busy(page: gr.Blocks) -> bool:
    """Whether a request waits or runs."""
    return bool(len(page._queue) or any(page._queue.active_jobs))


def get_request_errors() -> tuple[type[Exception], ...]:
    """What gradio raises for endpoints and arguments that the page does not have."""
    return route_utils.FnIndexInferError, KeyError, TypeError


@dataclass(frozen=True)
class QueuedRequest:
    """A request in gradio's queue."""

    queue: queueing.Queue
    event_id: str

    @property
    def is_abandoned(self) -> bool:
        """Whether it was cancelled, or its page or connection is closed."""
        event = self.queue.event_ids_to_events.get(self.event_id)
        return (
            event is None
            or not event.alive
            or event._id not in self.queue.pending_event_ids_session.get(event.session_hash, ())
        )


def get_queued_request() -> QueuedRequest | None:
    """The request that this thread answers; None if it did not come through the queue."""
    page = context.LocalContext.blocks.get(None)
    event_id = context.LocalContext.event_id.get(None)
    return None if page is None or event_id is None else QueuedRequest(page._queue, event_id)
