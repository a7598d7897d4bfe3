"""The page as a whole, read from what gradio knows of it."""

import gradio as gr

from ui.page import build
from ui.serving.captioners import Captioners
from ui.serving.executor import NUM_THREADS


def test_each_answer_that_may_have_begun_has_a_thread(monkeypatch):
    """Or the answers of one address, which have begun and wait, would keep all others out."""
    monkeypatch.setenv("CAPTIONLENS_ALLOW_HUB", "1")  # with all tabs
    events = build(Captioners()).fns.values()
    limits = {
        event.concurrency_id: event.concurrency_limit
        for event in events
        if isinstance(event.concurrency_limit, int)
    }
    for event in events:
        if any(isinstance(value, gr.Image) for value in event.inputs) and event.fn:
            assert event.concurrency_id in limits, "a photo is decoded at the cores"
    assert sum(limits.values()) <= NUM_THREADS
