"""Requests whose answers nobody reads end, also those that only wait."""

import json
import urllib.request

import pytest

from tests.support.async_calls import run_async
from tests.support.endless import serve_endless_work
from tests.support.waiting import wait_until
from ui.gradio_queue import drop_unread, is_queue_busy, is_session_known


@pytest.fixture(scope="module")
def page():
    with serve_endless_work() as page:
        yield page


def ask(address, text, session):
    """Ask, and read no answer; returns the name of the request."""
    request = urllib.request.Request(
        f"{address}gradio_api/call/work",
        json.dumps({"data": [text], "session_hash": session}).encode(),
        {"Content-Type": "application/json"},
    )
    return json.load(urllib.request.urlopen(request))["event_id"]


def test_what_nobody_reads_ends_whether_it_runs_or_waits(page):
    demo, address, begun, ended = page
    running = ask(address, "first", "unread")
    wait_until(lambda: "first" in begun)
    waiting, read = ask(address, "second", "unread"), ask(address, "third", "read")
    run_async(drop_unread, demo, lambda session, request: session == "read")
    wait_until(lambda: "first" in ended)
    wait_until(lambda: "third" in begun)
    assert "second" not in begun and waiting not in demo._queue.event_ids_to_events
    assert "third" not in ended, "who reads is answered"
    run_async(drop_unread, demo, lambda session, request: request == running)
    wait_until(lambda: "third" in ended and not is_queue_busy(demo))
    assert read not in demo._queue.event_ids_to_events


def test_answers_that_nobody_fetched_are_forgotten(page):
    demo, address, _, ended = page
    for session in ("fetched later", "never fetched"):
        ended.clear()
        ask(address, "an answer", session)
        wait_until(lambda: "an answer" in ended and not is_queue_busy(demo))
    run_async(drop_unread, demo, lambda session, request: session == "fetched later")
    assert is_session_known(demo, "fetched later")
    assert not is_session_known(demo, "never fetched")
    assert "never fetched" not in demo._queue.pending_event_ids_session
