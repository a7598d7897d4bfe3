"""Visitors' large photos are decoded in turn, two at once, for those who are still there."""

import json
import urllib.request
from threading import Event, Lock

import gradio as gr
import pytest

from tests.support.tiny import draw_photo
from tests.support.waiting import wait_until
from ui.gradio_queue import QueuedRequest
from ui.serving.cancellation import current_visitor
from ui.serving.executor import NUM_AT_ONCE
from ui.serving.request_checks import Page
from ui.uploads import photos
from ui.uploads.photos import create_photo_input, to_data_url


class Decoding:
    """Stands for `load_image`: each photo takes until `end` is set."""

    def __init__(self):
        self.begun: list[int] = []  # the photos' widths
        self.addresses: set[str] = set()
        self.end = Event()
        self.num_now = self.num_at_most = 0
        self._lock = Lock()

    def __call__(self, source):
        photo = load_image(source)
        with self._lock:
            self.begun.append(photo.width)
            self.addresses.add(current_visitor().address)
            self.num_now += 1
            self.num_at_most = max(self.num_at_most, self.num_now)
        assert self.end.wait(60)
        with self._lock:
            self.num_now -= 1
        return photo


load_image = photos.load_image


@pytest.fixture(scope="module")
def page():
    """One that tells a photo's width, with its address."""
    with Page() as page:
        photo, width = create_photo_input(), gr.Number()
        gr.Button().click(
            lambda image: image.width, photo, width, api_name="width", concurrency_limit=None
        )
    _, address, _ = page.launch(
        _frontend=False,  # else gradio waits 3 s, too little on a busy machine
        prevent_thread_lock=True,
        quiet=True,
        run_history=False,
    )
    yield page, address
    page.close()


def ask(address, width):
    """Ask, and open the stream of the answer; returns that, and the name of the request."""
    body = {"data": [{"url": to_data_url(draw_photo(width, 40))}], "session_hash": str(width)}
    request = urllib.request.Request(
        f"{address}gradio_api/call/width",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(request))["event_id"]
    return urllib.request.urlopen(f"{address}gradio_api/call/width/{event}"), event


def test_large_photos_are_decoded_two_at_once_for_those_who_are_there(page, monkeypatch):
    decoding = Decoding()
    monkeypatch.setattr(photos, "load_image", decoding)
    monkeypatch.setattr(photos, "LARGE_PIXELS", 40 * 50 - 1)
    asked = {width: ask(page[1], width) for width in (50, 51, 52, 53, 54)}
    wait_until(lambda: decoding.num_now == NUM_AT_ONCE)
    late = next(width for width in asked if width not in decoding.begun)
    stream, event = asked.pop(late)
    stream.close()  # one leaves while others' photos are decoded
    wait_until(lambda: QueuedRequest(page[0]._queue, event).is_abandoned)
    decoding.end.set()
    for width, (stream, _) in asked.items():
        assert f"[{width}" in stream.read().decode()
    assert decoding.num_at_most == NUM_AT_ONCE and late not in decoding.begun
    assert decoding.addresses == {"127.0.0.1"}, "whose turn it is depends on it"


def test_others_are_decoded_at_once(page, monkeypatch):
    decoding = Decoding()
    monkeypatch.setattr(photos, "load_image", decoding)
    asked = [ask(page[1], width)[0] for width in (60, 61, 62, 63, 64)]
    wait_until(lambda: decoding.num_now == len(asked) > NUM_AT_ONCE)
    decoding.end.set()
    assert [stream.read().decode().count("complete") for stream in asked] == [1] * 5
