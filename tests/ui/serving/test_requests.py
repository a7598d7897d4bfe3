"""What a request leaves in the log, and what a visitor is told when something breaks."""

import logging
import re
import types

import gradio as gr
import pytest
from PIL import Image

from ui.errors import user_error
from ui.serving.requests import request_handler

CAPTIONERS = types.SimpleNamespace(names=["shipped", "other"])
PHOTO = Image.new("RGB", (30, 20))


@request_handler(CAPTIONERS)
def reply(photo, text, name: str = "shipped") -> str:
    """Says it again."""
    if text == "refuse":
        raise user_error("Give something else.")
    if text.startswith("break"):
        raise RuntimeError(f"of {text}")
    return text


@request_handler(CAPTIONERS)
def reply_in_steps(photo, text, name):
    for letter in text:
        yield reply.__wrapped__(photo, letter if len(text) > 1 else text, name)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "captionlens")
    return caplog


def test_a_line_for_each_request(log):
    assert reply(PHOTO, "a secret", "other") == "a secret"
    assert list(reply_in_steps(None, "ab", name="shipped")) == ["a", "b"]
    first, second = log.messages
    assert re.fullmatch(r".*test_requests.reply: other; 30 × 20; \d+\.\d\d s; done", first)
    assert re.fullmatch(r".*reply_in_steps: shipped; no photo; \d+\.\d\d s; done", second)
    assert "secret" not in log.text


def test_what_a_visitor_can_mend_is_no_failure(log):
    with pytest.raises(gr.Error, match="Give something else"):
        reply(PHOTO, "refuse", "me/mine")
    assert log.messages[-1].endswith("refused") and "me/mine" not in log.text
    assert "Traceback" not in log.text


def test_a_failure_has_a_number_on_both_sides(log):
    with pytest.raises(gr.Error) as told:
        reply(PHOTO, "break /home/me", "shipped")
    (number,) = re.findall(r"\((\w{8})\)", str(told.value))
    assert "/home/me" not in str(told.value)
    assert log.messages[-1].endswith(f"failed, {number}")
    assert f"{number}: RuntimeError" in log.text and "in reply" in log.text
    assert "/home/me" not in log.text


def test_debugging_shows_what_failed(log, monkeypatch):
    monkeypatch.setenv("CAPTIONLENS_DEBUG", "1")
    with pytest.raises(gr.Error):
        reply(PHOTO, "break /home/me", "shipped")
    assert "RuntimeError: of break /home/me" in log.text


def test_a_request_that_is_cancelled(log):
    steps = reply_in_steps(PHOTO, "abc", "shipped")
    next(steps)
    steps.close()
    assert log.messages[-1].endswith("cancelled")


def test_gradio_sees_the_handler_as_it_is():
    """Its arguments and its description are what programs are told."""
    assert reply.__doc__ == "Says it again." and reply.__annotations__ == {
        "name": str,
        "return": str,
    }
