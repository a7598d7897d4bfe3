"""The gate in front of gradio, with a small application behind it."""

from types import SimpleNamespace

import anyio
import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router

from tests.support.async_calls import run_async
from ui.gradio_queue import get_address
from ui.serving import gate as gate_module
from ui.serving.gate import Gate
from ui.serving.hourly_share import HourlyShare
from ui.serving.readers import READERS


class Folder:
    """Stands for the upload folder; notes for how many bytes room was made."""

    def __init__(self):
        self.needed = []

    def clean(self, needed):
        self.needed.append(needed)


async def answer(request):
    body = await request.body()
    return PlainTextResponse(f"{len(body)} bytes")


async def fail(request):
    raise LookupError(request.url.query)


@pytest.fixture
def folder():
    return Folder()


@pytest.fixture
def gate(folder):
    paths = {"/gradio_api/queue/join": answer, "/gradio_api/upload": answer, "/config": fail}
    paths |= {"/gradio_api/run/caption": answer, "/own": answer}
    routes = [Route(path, function, methods=["GET", "POST"]) for path, function in paths.items()]
    return Gate(Router(routes), folder, own_routes=("/own",))


def ask(gate, method, path, **options):
    async def send():
        transport = httpx.ASGITransport(gate, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, **options)

    return run_async(send)


async def drip(*pieces):
    for piece in pieces:
        yield piece


def test_only_what_the_page_needs_is_open(gate):
    assert ask(gate, "POST", "/own").status_code == 200
    assert ask(gate, "POST", "/gradio_api/queue/join/").status_code != 404
    for path in ("/gradio_api/run/caption", "/monitoring/summary", "/gradio_api/proxy=x"):
        answered = ask(gate, "POST", path)
        assert answered.status_code == 404 and "see /gradio_api/info" in answered.json()["detail"]


def test_a_body_is_weighed_before_it_is_read(gate, monkeypatch):
    monkeypatch.setattr(gate_module, "MAX_BODY_BYTES", 100)
    path = "/gradio_api/queue/join"
    assert ask(gate, "POST", path, content=bytes(100)).text == "100 bytes"
    assert ask(gate, "POST", path, content=drip(b"a" * 40, b"b" * 40)).text == "80 bytes"
    for content in (bytes(101), drip(bytes(60), bytes(60))):
        assert ask(gate, "POST", path, content=content).status_code == 413
    for length in ("x", "-1", "9" * 30):
        answered = ask(gate, "POST", path, headers={"Content-Length": length})
        assert answered.status_code in (400, 413)


def test_bodies_that_come_at_once_have_a_limit(gate, monkeypatch):
    monkeypatch.setattr(gate_module, "MAX_BODIES_BYTES", 100)
    for _ in range(3):  # and give back what they took
        assert ask(gate, "POST", "/own", content=bytes(100)).status_code == 200
    gate._bodies_bytes = 1
    answered = ask(gate, "POST", "/own", content=bytes(100))
    assert answered.status_code == 503 and "Too many photos" in answered.json()["detail"]


def test_uploads_find_room_and_have_limits(gate, folder, monkeypatch):
    path = "/gradio_api/upload"
    assert ask(gate, "POST", path, content=bytes(70)).text == "70 bytes"
    assert folder.needed == [70]
    monkeypatch.setattr(gate_module, "MAX_UPLOAD_BYTES", 100)
    assert ask(gate, "POST", path, content=bytes(101)).status_code == 413
    with pytest.raises(Exception, match="maximum allowed size"):  # which gradio's parser knows
        gate._uploads = HourlyShare(100)
        ask_raw(gate, path, [bytes(60), bytes(60)])


def ask_raw(gate, path, pieces):
    """What the application behind the gate raises while it reads."""
    raised = []

    async def read_all(scope, receive, send):
        try:
            while (await receive()).get("more_body"):
                pass
        except Exception as error:
            raised.append(error)

    gate._app = read_all
    ask_quietly(gate, path, pieces)
    raise raised[0]


def ask_quietly(gate, path, pieces):
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

    async def receive():
        return messages.pop(0)

    async def send(message):
        pass

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    run_async(gate, scope, receive, send)


def test_a_fault_behind_it_is_one_line(gate, caplog):
    answered = ask(gate, "GET", "/config?SECRETWORD")
    assert answered.status_code == 500 and "went wrong here" in answered.json()["detail"]
    assert "LookupError" in caplog.text and "SECRETWORD" not in caplog.text + answered.text


def test_an_address_has_so_many_requests_open(gate, monkeypatch):
    monkeypatch.setattr(gate_module, "MAX_OPEN", 0)
    answered = ask(gate, "GET", "/own")
    assert answered.status_code == 429 and "Too many requests" in answered.json()["detail"]


@pytest.mark.parametrize(
    "path, query, name",
    [
        ("/gradio_api/queue/data", b"session_hash=me", "me"),
        ("/gradio_api/call/caption/123", b"", "123"),
        ("/gradio_api/call/v2/caption/456", b"", "456"),
    ],
)
def test_who_reads_a_stream_is_noted(gate, path, query, name, monkeypatch):
    monkeypatch.setattr(gate_module, "is_session_known", lambda page, asked: asked == name)

    async def look(scope, receive, send):
        assert name in READERS._open

    gate._app = look
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": query}
    scope["app"] = SimpleNamespace(get_blocks=lambda: None)
    run_async(gate, scope, None, None)
    assert name not in READERS._open


def test_a_visitor_who_falls_silent_has_left(gate, monkeypatch):
    monkeypatch.setattr(gate_module, "MAX_SECONDS_SILENT", 0.05)
    seen, answers = [], []

    async def never(*_):
        await anyio.sleep_forever()

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append(await receive())

    gate._app = stream
    scope = {"type": "http", "method": "GET", "path": "/own", "headers": [], "query_string": b""}
    run_async(gate, scope, never, never)
    assert seen == [{"type": "http.disconnect"}], "one who does not read"

    async def send(message):
        answers.append(message)

    run_async(gate, scope | {"method": "POST"}, never, send)
    assert answers[0]["status"] == 408, "one who does not send"


@pytest.mark.parametrize(
    "host, address",
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_who_has_a_network_has_one_address(host, address):
    assert get_address({"client": (host, 1)}) == address
    assert get_address({"client": None}) == ""


def test_the_share_of_an_hour(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ui.serving.hourly_share.time.monotonic", lambda: now[0])
    share = HourlyShare(100)
    assert share.take("a", 60) and share.take("a", 40) and not share.take("a", 1)
    assert share.take("b", 100)
    assert not share.take("c", 101), "the first of this one"
    now[0] += 3601
    assert share.take("a", 100)
    assert list(share._taken) == ["a"]
