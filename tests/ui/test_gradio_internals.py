"""A name that gradio renames ends the program at its start, with gradio's version and the name."""

import re
import threading
import time
from types import ModuleType, SimpleNamespace

import gradio as gr
import pytest
from anyio.to_thread import current_default_thread_limiter, run_sync
from gradio import processing_utils, queueing, route_utils, routes, state_holder, utils

from tests.support.async_calls import run_async
from ui import gradio_internals, gradio_queue
from ui.serving.shares import FairShares

WORKER = "AnyIO worker thread"


def is_defined_by(owner, name):
    """Whether it is gone once it is deleted there: no base class has it too."""
    return not any(hasattr(base, name) for base in getattr(owner, "__mro__", ())[1:])


NAMES = [
    (owner, name)
    for owner, name in gradio_internals.list_internal_names()
    if isinstance(owner, ModuleType | type) and is_defined_by(owner, name)
]
PATCHED = [
    (processing_utils, "async_ssrf_protected_download"),
    (queueing, "Queue"),
    (queueing, "traceback"),
    (routes, "traceback"),
    (queueing, "error_payload"),
    (utils, "error_payload"),
    (route_utils, "SessionState"),
    (state_holder, "SessionState"),
]


def keep_patched(monkeypatch):
    """Put back afterwards what `install` changes."""
    for module, name in PATCHED:
        monkeypatch.setattr(module, name, getattr(module, name))


def test_all_names_are_there():
    gradio_internals.check_internal_names()


@pytest.mark.parametrize("owner, name", NAMES, ids=lambda x: getattr(x, "__name__", x))
def test_a_name_that_is_gone_is_a_clear_error(monkeypatch, owner, name):
    monkeypatch.delattr(owner, name)
    expected = rf"gradio {re.escape(gr.__version__)} has no \S*{owner.__name__}\.{name}, "
    with pytest.raises(RuntimeError, match=expected):
        gradio_internals.install(download=None, shares=None)


def test_an_attribute_that_is_gone_is_a_clear_error(monkeypatch):
    def init(self, *args):
        self._id, self.session_hash = "id", "session"

    monkeypatch.setattr(queueing.Event, "__init__", init)
    with pytest.raises(RuntimeError, match=r"has no Event\.alive, which the page relies on"):
        gradio_internals.check_internal_names()


def test_a_route_that_is_gone_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(gradio_internals, "OPEN_ROUTES", ("/", "/gradio_api/other/{name}"))
    with pytest.raises(RuntimeError, match=r"has no route /gradio_api/other/{name}, which"):
        gradio_internals.check_internal_names()


def test_addresses_are_fetched_by_our_download(monkeypatch, tmp_path):
    """By gradio's own way for values with addresses, so that a limit is never left out."""
    fetched = []

    async def download(address, folder):
        fetched.append(address)
        path = tmp_path / "photo"
        path.write_bytes(b"x")
        return str(path)

    keep_patched(monkeypatch)
    gradio_internals.install(download, FairShares())
    file = {"path": "https://example.com/x.png", "meta": {"_type": "gradio.FileData"}}
    with gr.Blocks():
        component = gr.Image()

    async def read():
        return await processing_utils.async_move_files_to_cache(
            file, component, check_in_upload_folder=True
        )

    moved = run_async(read)
    assert fetched == ["https://example.com/x.png"] and moved["path"] == str(tmp_path / "photo")


def test_a_request_that_is_not_queued_has_no_visitor():
    assert gradio_queue.get_queued_request() is None


def test_a_request_is_abandoned_once_the_queue_has_lost_it():
    event = SimpleNamespace(_id="a", alive=True, session_hash="s")
    queue = SimpleNamespace(
        event_ids_to_events={"a": event}, pending_event_ids_session={"s": {"a"}}
    )
    request = gradio_queue.QueuedRequest(queue, "a")
    assert not request.is_abandoned
    event.alive = False
    assert request.is_abandoned
    event.alive, queue.pending_event_ids_session = True, {}
    assert request.is_abandoned
    queue.event_ids_to_events = {}
    assert request.is_abandoned


def test_a_session_keeps_no_value_that_a_visitor_sent(monkeypatch):
    """Gradio's own would keep the settings of each component, and a photo that came in a body."""
    keep_patched(monkeypatch)
    gradio_internals.install(download=None, shares=FairShares())
    with gr.Blocks() as page:
        box, kept = gr.Textbox(), gr.State(0)
        button = gr.Button()
        button.click(lambda text, n: (gr.update(label="New"), n + 1), [box, kept], [box, kept])
    session = state_holder.SessionState(page)
    event = next(iter(page.fns.values()))

    async def ask():
        with_state = page.process_api(event, ["a visitor's words", None], state=session)
        return (await with_state)["data"]

    assert run_async(ask)[0]["label"] == "New"
    run_async(ask)
    assert session[kept._id] == 2 and session[box._id].label == "New"
    assert "a visitor's words" not in str(vars(session)) and len(session.config_values) <= 2


def test_worker_threads_are_there_from_the_start_and_stay(monkeypatch):
    monkeypatch.setattr(gradio_internals.WorkerThread, "MAX_IDLE_TIME", 0)

    async def count() -> tuple[int, float, int]:
        await gradio_internals.start_worker_threads()
        names = [thread.name for thread in threading.enumerate()]
        limit = current_default_thread_limiter().total_tokens
        await run_sync(time.sleep, 0.05)
        await run_sync(time.sleep, 0)  # gradio's would end those that were idle so long
        after = [thread.name for thread in threading.enumerate()]
        return names.count(WORKER), limit, after.count(WORKER)

    before, limit, after = run_async(count)
    assert before >= limit and after >= limit
