"""The app as a service: health, an orderly end, and what it must never give away."""

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import httpx
import pytest

from model import load
from tests.serving import ROOT, environment, served
from tests.tiny import draw_photo

gradio_client = pytest.importorskip("gradio_client")
AppError = gradio_client.exceptions.AppError


@pytest.fixture(scope="module")
def app(checkpoint, tmp_path_factory):
    with served(tmp_path_factory.mktemp("app"), checkpoint) as app:
        yield app


@pytest.fixture
def photo(tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    return gradio_client.handle_file(tmp_path / "photo.png")


def fetch(address, data=None):
    """Status and body of a request."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(app, endpoint, data):
    """What an endpoint answers, as it is sent."""
    status, body = fetch(f"{app.address}/gradio_api/call/{endpoint}", {"data": data})
    assert status == 200
    return fetch(f"{app.address}/gradio_api/call/{endpoint}/{json.loads(body)['event_id']}")[1]


def test_health(app):
    status, body = fetch(f"{app.address}/health")
    assert status == 200 and json.loads(body) == {"status": "ok"}


def test_the_end_waits_for_what_is_running(checkpoint, photo, tmp_path):
    """SIGTERM in the middle of many photos: they are all captioned, and nothing else begins."""
    count = 60
    for i in range(count):
        draw_photo(colour=(i * 4, 60, 30)).save(tmp_path / f"{i}.png")
    files = [gradio_client.handle_file(tmp_path / f"{i}.png") for i in range(count)]
    with served(tmp_path, checkpoint) as app:
        client = gradio_client.Client(app.address, verbose=False)
        other = gradio_client.Client(app.address, verbose=False)
        job = client.submit(files, api_name="/caption_many")
        while not job.outputs():
            time.sleep(0.01)
        app.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert not job.done(), "it is still running"
        assert fetch(f"{app.address}/health") == (503, '{"status":"closing"}')
        with pytest.raises(AppError, match="This page is restarting. Try again in a minute."):
            other.predict(photo, api_name="/caption")
        assert len(job.result(60)) == count
        assert app.process.wait(30) == 0
        log = app.log.read_text()
    assert "Traceback" not in log and "Error" not in log
    assert not [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"CAPTIONLENS_CHECKPOINT": "/none"}, "error: /none: no such checkpoint folder"),
        ({"GRADIO_TEMP_DIR": "/dev/null/x"}, "set GRADIO_TEMP_DIR to a folder that can be written"),
        ({"GRADIO_TEMP_DIR": "/proc/1/x"}, "set GRADIO_TEMP_DIR to a folder that can be written"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(checkpoint, tmp_path, changes, told):
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment(tmp_path, checkpoint) | changes,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith(told)


@pytest.mark.parametrize("name", ["/etc/passwd", str(ROOT / "app.py"), "../../etc/passwd"])
def test_the_hosts_files_are_not_served(app, name):
    status, body = fetch(f"{app.address}/gradio_api/file={name}")
    assert status in (403, 404) and "root:" not in body and "import" not in body


@pytest.mark.parametrize("kind", ["gradio.FileData", None])
@pytest.mark.parametrize(
    "given",
    [
        {"path": "/etc/passwd"},
        {"path": str(ROOT / "assets" / "examples" / "photographer.jpg")},
        {"path": "../assets/examples/photographer.jpg"},
        {"path": "file:///etc/passwd", "url": "file:///etc/passwd"},
        {"path": None, "url": "file:///etc/passwd"},
        {"path": "http://127.0.0.1:1/photo.png"},
        {"path": "http://169.254.169.254/latest/meta-data"},
    ],
)
def test_a_request_reads_no_file_of_the_hosts_and_no_inner_address(app, given, kind):
    """gradio looks only at what says that it is a file of its."""
    photo = {**given, "meta": {"_type": kind}} if kind else given
    body = ask(app, "caption", [photo, 1, ""])
    assert "event: error" in body and "event: complete" not in body, body


def test_no_component_fetches_without_a_limit(app, photo):
    """A text that claims to be a file at an address."""
    text = {"path": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}}
    body = ask(app, "explain", [None, text, "gradient", ""])
    assert "failed validation; give the photo itself" in body


def test_a_long_text_does_not_stop_the_page(app, photo, tmp_path):
    client = gradio_client.Client(app.address, verbose=False)
    begun = time.monotonic()
    told = client.predict(photo, "a" + 90_000 * " " + "b", api_name="/explain")
    assert [word["text"] for word in told["words"]] == ["a", "b"]
    assert time.monotonic() - begun < 5
    with pytest.raises(AppError, match="a text of more than 100,000 characters"):
        client.predict(photo, 200_000 * "a", api_name="/explain")


def test_a_request_of_wrong_types_is_no_words_in_the_log(app, photo):
    for data in ([None, "SECRETWORD", ""], [None, 11, ""], ["SECRETWORD", 1, ""]):
        assert "event: error" in ask(app, "caption", data)
    log = app.log.read_text()
    assert "SECRETWORD" not in log and "Traceback" not in log


def test_what_another_visitor_gave_is_not_listed(app, photo, checkpoint):
    """A photo that was given has an address that only its content tells."""
    client = gradio_client.Client(app.address, verbose=False)
    text = client.predict(photo, api_name="/caption")
    assert text == load(checkpoint).caption(draw_photo()).text
    uploads = app.log.parent / "uploads"
    (kept,) = uploads.glob("*/photo.png")
    assert len(kept.parent.name) == 64  # a hash
    for name in (uploads, kept.parent):
        status, _ = fetch(f"{app.address}/gradio_api/file={name}")
        assert status in (403, 404)


def test_a_photo_that_was_removed_and_one_that_finds_no_room(checkpoint, photo, tmp_path):
    with served(tmp_path, checkpoint) as app:
        client = gradio_client.Client(app.address, verbose=False)
        assert client.predict(photo, api_name="/caption")
        (kept,) = (tmp_path / "uploads").glob("*/photo.png")
        shutil.rmtree(tmp_path / "uploads")
        data = [{"path": str(kept), "meta": {"_type": "gradio.FileData"}}, 1, ""]
        event = json.loads(fetch(f"{app.address}/gradio_api/call/caption", {"data": data})[1])
        _, body = fetch(f"{app.address}/gradio_api/call/caption/{event['event_id']}")
        assert "not here any more" in body
        (tmp_path / "uploads").write_text("in the way")
        answer = httpx.post(
            f"{app.address}/gradio_api/upload",
            files={"files": (tmp_path / "photo.png").open("rb")},
        )
        assert (answer.status_code, "no room for photos" in answer.text) == (507, True)
        assert "Traceback" not in app.log.read_text()
