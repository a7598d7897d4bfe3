"""Many at once: each gets the answer to their own request, or one line."""

import base64
import io
import json
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from model import load
from tests.support.async_calls import run_async
from tests.support.tiny import draw_photo, tiny_captioner
from tests.support.uploads import encode_png
from tools.serving import serve_app
from ui.serving.shares import MAX_WAITING, MAX_WAITING_OF_ADDRESS

pytestmark = pytest.mark.slow  # starts a program

NUM_PHOTOS = 200


@pytest.fixture(scope="module")
def checkpoints(checkpoint, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    tiny_captioner(seed=37).save_pretrained(other)
    return [checkpoint, other]


@pytest.fixture(scope="module")
def app(checkpoints, tmp_path_factory):
    with serve_app(tmp_path_factory.mktemp("app"), ",".join(map(str, checkpoints))) as app:
        yield app
        assert "Traceback" not in app.log.read_text()


def encode_address(photo):
    """The photo, pixel for pixel, inside an address."""
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return {"url": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}


def read_message(lines):
    """The end of a stream of an answer: what kind of end, and the value."""
    kind = ""
    for line in lines:
        if line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:") and kind in ("complete", "error"):
            return kind, json.loads(line[5:])
    raise AssertionError("no end of it")


async def ask_all(app, photos, get_address):
    """What each photo's visitor is answered, all at once: a caption, or a status that refuses."""
    answers = [None] * len(photos)
    limits = httpx.Limits(max_connections=len(photos))

    async def ask(client, index):
        body = {"data": [encode_address(photos[index]), 1, ""]}
        body["session_hash"] = secrets.token_hex(6)
        headers = {"X-Forwarded-For": get_address(index)}
        asked = await client.post("/gradio_api/call/caption", json=body, headers=headers)
        if asked.status_code != 200:
            assert "\n" not in asked.json()["detail"]
            answers[index] = asked.status_code
            return
        address = f"/gradio_api/call/caption/{asked.json()['event_id']}"
        answer = await client.get(address, headers=headers)
        kind, value = read_message(answer.text.splitlines())
        assert kind == "complete", value
        answers[index] = value[0]

    async with httpx.AsyncClient(base_url=app.address, timeout=120, limits=limits) as client:
        async with anyio.create_task_group() as group:
            for index in range(len(photos)):
                group.start_soon(ask, client, index)
    return answers


@pytest.mark.parametrize(
    "get_address, may_wait",
    [
        (lambda index: "198.51.100.1", MAX_WAITING_OF_ADDRESS),
        (lambda index: f"198.51.100.{index}", MAX_WAITING),
    ],
    ids=["of one address", "of as many addresses"],
)
def test_two_hundred_tiny_photos_at_once(app, checkpoints, get_address, may_wait):
    photos = [draw_photo(9, 7, (i, 255 - i, 90)) for i in range(NUM_PHOTOS)]
    answers = run_async(ask_all, app, photos, get_address)
    expected = [caption.text for [caption] in load(checkpoints[0]).captions(photos, num_beams=1)]
    right = [answer == caption for answer, caption in zip(answers, expected, strict=True)]
    refused = [answer in (429, 503) for answer in answers]
    assert sum(right) + sum(refused) == NUM_PHOTOS and sum(right) >= may_wait
    assert run_async(ask_all, app, photos[:1], get_address) == expected[:1], "it goes on"


def upload(app, names):
    files = [("files", (name, encode_png((5 * i, 60, 30)))) for i, name in enumerate(names)]
    paths = httpx.post(f"{app.address}/gradio_api/upload", files=files, timeout=60).json()
    return [
        {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        for path, name in zip(paths, names, strict=True)
    ]


def ask_event(app, index, data):
    """The last values that an event of the page gives."""
    session = secrets.token_hex(6)
    body = {"data": data, "fn_index": index, "session_hash": session}
    with httpx.Client(base_url=app.address, timeout=120) as client:
        assert client.post("/gradio_api/queue/join", json=body).status_code == 200
        address = f"/gradio_api/queue/data?session_hash={session}"
        with client.stream("GET", address) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "process_generating":
                    values = message["output"]["data"]
                if message.get("msg") == "process_completed":
                    assert message["success"], message
                    return message["output"]["data"] or values
    raise AssertionError("no end of it")


def test_compare_beside_many_photos(app, checkpoints):
    page = httpx.get(f"{app.address}/config").json()
    (button,) = (c["id"] for c in page["components"] if c["props"].get("value") == "Compare")
    (event,) = (
        event["id"] for event in page["dependencies"] if [button, "click"] in event["targets"]
    )
    first, second = map(str, checkpoints)
    photo = draw_photo(60, 40)
    names = [f"{i}.png" for i in range(40)]
    given = upload(app, names)
    with ThreadPoolExecutor() as pool:
        many = pool.submit(ask_many, app, given)
        values = [None, encode_address(photo), first, "", second]
        compared = [ask_event(app, event, values) for _ in range(3)]
        assert [record["image"] for record in many.result(120)] == names
        assert all(record["caption"] for record in many.result())
    for checkpoint in checkpoints:
        words = load(checkpoint).caption(photo).words
        for [html] in compared:
            assert all(word.text in html for word in words)


def ask_many(app, files):
    with httpx.Client(base_url=app.address, timeout=120) as client:
        asked = client.post("/gradio_api/call/caption_many", json={"data": [files, 1, ""]})
        answer = client.get(f"/gradio_api/call/caption_many/{asked.json()['event_id']}")
    kind, value = read_message(answer.text.splitlines())
    assert kind == "complete", value
    return value[0]


def test_a_slow_upload_holds_up_nobody(app):
    content = encode_png()
    head = (
        b"--x\r\nContent-Disposition: form-data; name=files; filename=slow.png\r\n"
        b"Content-Type: image/png\r\n\r\n"
    )
    body = head + content + b"\r\n--x--\r\n"
    where = urlsplit(app.address)
    with socket.create_connection((where.hostname, where.port), 60) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: page\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        for i in range(0, len(body), 200):
            connection.sendall(body[i : i + 200])
            assert [f["orig_name"] for f in upload(app, ["other.png"])] == ["other.png"]
        answer = b""
        while piece := connection.recv(2**16):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200") and b"slow.png" in answer
