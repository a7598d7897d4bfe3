"""What a request leaves in the log, and what a visitor is told when something breaks."""

import logging
import re
import types

import gradio as gr
import pytest
from PIL import Image

from ui.errors import user_error
from ui.serving.cancellation import check_still_waiting
from ui.serving.requests import request_handler
from ui.serving.runs import Runs

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


@request_handler(CAPTIONERS)
def reply_unless_asked_again(runs, text):
    for letter in text:
        if letter == "!":
            runs.begin()  # as another request does
            check_still_waiting()
            raise AssertionError("nobody waits for this any more")
        yield letter


@request_handler(CAPTIONERS)
def reply_once(runs, is_asked_again):
    if is_asked_again:
        runs.begin()
    return "an answer"


@request_handler(CAPTIONERS)
def refuse_in_steps(runs, is_asked_again):
    yield "a step"
    if is_asked_again:
        runs.begin()
    raise user_error("Give something else.")


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


def test_a_newer_run_ends_the_one_before_without_a_word(log):
    runs = Runs()
    assert list(reply_unless_asked_again(runs, "abc")) == ["a", "b", "c"]
    assert list(reply_unless_asked_again(runs, "ab!c")) == ["a", "b", gr.skip()]
    assert log.messages[-1].endswith("; cancelled")
    steps = reply_unless_asked_again(runs, "abc")
    assert next(steps) == "a"
    assert list(reply_unless_asked_again(runs, "d")) == ["d"]
    assert list(steps) == [gr.skip()], "the work ends between two steps"
    assert reply_once(runs, False) == "an answer"
    assert reply_once(runs, True) == gr.skip(), "kept back"


def test_what_is_wrong_with_a_run_before_is_kept_back(log):
    assert list(refuse_in_steps(Runs(), True)) == ["a step", gr.skip()]
    assert log.messages[-1].endswith("; refused")
    with pytest.raises(gr.Error, match="Give something else"):
        list(refuse_in_steps(Runs(), False))


def test_a_run_that_waited_longer_is_no_newer(monkeypatch):
    """As that of a photo that was taken away before its turn came."""
    asked = iter([types.SimpleNamespace(asked_at=seconds) for seconds in (2.0, 1.0, 3.0)])
    monkeypatch.setattr("ui.serving.runs.get_queued_request", lambda: next(asked))
    runs = Runs()
    newer, waited = runs.begin(), runs.begin()
    assert newer() and not waited()
    newest = runs.begin()
    assert newest() and not newer()


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
