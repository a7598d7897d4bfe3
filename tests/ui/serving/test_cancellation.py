"""Work ends when nobody waits for it any more. Seen from outside: a page, and who asks it."""

import json
import urllib.request

import pytest

from tests.support.endless import serve_endless_work
from tests.support.waiting import wait_until
from ui.serving.cancellation import TimeLimitExceeded, Visitor

gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def page():
    with serve_endless_work() as page:
        yield page


def test_a_request_that_is_cancelled_ends(page):
    _, address, begun, ended = page
    job = gradio_client.Client(address, verbose=False).submit("cancelled", api_name="/work")
    wait_until(lambda: "cancelled" in begun)
    job.cancel()
    wait_until(lambda: "cancelled" in ended)


def test_a_visitor_who_closes_the_connection(page):
    _, address, begun, ended = page
    request = urllib.request.Request(
        f"{address}gradio_api/call/work",
        json.dumps({"data": ["gone"]}).encode(),
        {"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(request))["event_id"]
    response = urllib.request.urlopen(f"{address}gradio_api/call/work/{event}")
    wait_until(lambda: "gone" in begun)
    response.close()
    wait_until(lambda: "gone" in ended)


def test_who_stays_gets_the_answer(page):
    client = gradio_client.Client(page.address, verbose=False)
    assert client.predict("an answer", api_name="/work") == "an answer"


def test_a_limit_of_time(monkeypatch):
    now = 100.0
    monkeypatch.setattr("ui.serving.cancellation.time.monotonic", lambda: now)
    visitor = Visitor(seconds=60)
    visitor.check_still_waiting()
    now += 61
    with pytest.raises(TimeLimitExceeded, match="longer than 60 seconds and was stopped. Ask for"):
        visitor.check_still_waiting()
