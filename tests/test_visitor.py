"""Work ends when nobody waits for it any more. Seen from outside: a page, and who asks it."""

import json
import time
import urllib.request

import gradio as gr
import pytest

from ui.serving.cancellation import TooSlow, Visitor, asked_by, still_wanted

gradio_client = pytest.importorskip("gradio_client")
STEPS = 400  # of 20 ms


@pytest.fixture(scope="module")
def page():
    """An endpoint that works for eight seconds; (address, how far it came each time)."""
    seen, ended = [], []

    def work(text: str) -> str:
        seen.append(text)
        steps = 0
        try:
            with asked_by(Visitor()):
                for steps in range(STEPS):  # noqa: B007 (told at the end)
                    still_wanted()
                    time.sleep(0.02)
        finally:
            ended.append((text, steps))
        return text

    with gr.Blocks() as demo:
        box = gr.Textbox()
        box.submit(work, box, box, api_name="work")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, run_history=False)
    yield address, seen, ended
    demo.close()


def wait_for(holds, seconds=5):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_request_that_is_cancelled_ends(page):
    address, seen, ended = page
    job = gradio_client.Client(address, verbose=False).submit("cancelled", api_name="/work")
    wait_for(lambda: "cancelled" in seen)
    time.sleep(0.3)
    job.cancel()
    wait_for(lambda: [steps for text, steps in ended if text == "cancelled" and steps < STEPS - 1])


def test_a_visitor_who_closes_the_connection(page):
    address, seen, ended = page
    asked = urllib.request.Request(
        f"{address}gradio_api/call/work",
        json.dumps({"data": ["gone"]}).encode(),
        {"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(asked))["event_id"]
    answer = urllib.request.urlopen(f"{address}gradio_api/call/work/{event}")
    wait_for(lambda: "gone" in seen)
    answer.close()
    wait_for(lambda: [steps for text, steps in ended if text == "gone" and steps < STEPS - 1])


def test_who_stays_gets_the_answer(page):
    address, _, ended = page
    assert gradio_client.Client(address, verbose=False).predict("here", api_name="/work") == "here"
    assert ("here", STEPS - 1) in ended


def test_a_limit_of_time():
    visitor = Visitor(seconds=0.05)
    visitor.check()
    time.sleep(0.1)
    with pytest.raises(TooSlow, match="longer than 0 seconds and was stopped. Ask for less"):
        visitor.check()
