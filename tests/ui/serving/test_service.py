"""The app as a service: health, an orderly end, and what it must never give away."""

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import httpx
import pytest

from model import load
from tests.support.tiny import draw_photo
from tests.support.waiting import wait_until
from tools.serving import ROOT, make_environment, serve_app
from ui import gradio_internals
from ui.uploads.photos import to_data_url

pytestmark = pytest.mark.slow  # each starts a program

gradio_client = pytest.importorskip("gradio_client")
AppError = gradio_client.exceptions.AppError


@pytest.fixture(scope="module")
def app(checkpoint, tmp_path_factory):
    with serve_app(tmp_path_factory.mktemp("app"), checkpoint) as app:
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
    with serve_app(tmp_path, checkpoint) as app:
        client = gradio_client.Client(app.address, verbose=False)
        other = gradio_client.Client(app.address, verbose=False)
        job = client.submit(files, api_name="/caption_many")
        wait_until(job.outputs)
        app.process.send_signal(signal.SIGTERM)
        wait_until(lambda: fetch(f"{app.address}/health") == (503, '{"status":"closing"}'))
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
        ({"CAPTIONLENS_CHECKPOINT": "a\nb"}, "error: a b: no such checkpoint folder"),
        ({"GRADIO_TEMP_DIR": "/dev/null/x"}, "set GRADIO_TEMP_DIR to a folder that can be written"),
        ({"GRADIO_TEMP_DIR": "/proc/1/x"}, "set GRADIO_TEMP_DIR to a folder that can be written"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(checkpoint, tmp_path, changes, told):
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=make_environment(tmp_path, checkpoint) | changes,
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
    if kind and str(given["path"]).startswith("http"):
        assert "give the photo itself" in body, "our own limits are at work"


def test_a_text_that_claims_to_be_a_file_at_an_address_is_not_fetched(app):
    text = {"path": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}}
    body = ask(app, "explain", [None, text, "gradient", ""])
    assert "text: give a text, not an object" in body


def test_a_long_text_does_not_stop_the_page(app, photo, tmp_path):
    client = gradio_client.Client(app.address, verbose=False)
    job = client.submit(photo, "a" + 90_000 * " " + "b", api_name="/explain")
    assert [word["text"] for word in job.result(60)["words"]] == ["a", "b"]
    with pytest.raises(AppError, match="a text of more than 100,000 characters"):
        client.predict(photo, 200_000 * "a", api_name="/explain")


def test_a_request_of_wrong_types_is_no_words_in_the_log(app, photo):
    for data in ([None, "SECRETWORD", ""], [None, 11, ""], ["SECRETWORD", 1, ""]):
        assert "event: error" in ask(app, "caption", data)
    log = app.log.read_text()
    assert "SECRETWORD" not in log and "Traceback" not in log


PHOTO = {"url": to_data_url(draw_photo())}
FILE = {"path": "https://example.invalid/x.png"}  # without gradio's mark


@pytest.mark.parametrize(
    "endpoint, data, reason",
    [
        ("caption", [PHOTO["url"], 0, ""], "Photo: give a photo as a file"),
        ("caption", [[PHOTO], 0, ""], "Photo: give a photo as a file"),
        ("caption", [{"path": 5}, 0, ""], "Photo: give a photo as a file"),
        ("caption", [{}, 0, ""], "Give a file"),
        ("caption", [None, 0, ""], "Give a photo"),
        ("caption", [PHOTO, "5", ""], "num_beams: give a number, not a text"),
        ("caption", [PHOTO, [5], ""], "num_beams: give a number, not a list"),
        ("caption", [PHOTO, True, ""], "num_beams: give a number, not true or false"),
        ("caption", [PHOTO, float("nan"), ""], "num_beams: give a number that is finite"),
        ("caption", [PHOTO, 11, ""], "greater than maximum"),
        ("caption", [PHOTO, 0, ["x"]], "model: give a text, not a list"),
        ("caption", [PHOTO, 0, "half of \ud83d"], "model: a character in it is cut in half"),
        ("caption", [PHOTO], "1 values came; give 4: Photo, num_beams, model, language."),
        ("caption", [PHOTO, 0, "", "", ""], "5 values came; give 4"),
        ("caption", [], "0 values came; give 4"),
        ("caption", [PHOTO, 0, "", "x"], "language"),
        ("explain", [PHOTO, {"a": 1}, "gradient", ""], "text: give a text, not an object"),
        ("explain", [PHOTO, "\ud83d dog", "gradient", ""], "text: a character in it is cut"),
        ("explain", [PHOTO, "a dog", 5, ""], "method: give a text, not a number"),
        ("explain", [PHOTO, "a dog"], "2 values came; give 4: Photo, text, method, model."),
        ("caption_many", ["x", 0, ""], "give a list of files, each as"),
        ("caption_many", [["x"], 0, ""], "give a list of files, each as"),
        ("caption_many", [[PHOTO], 0, ""], "give a list of files, each as"),
        ("caption_many", [[FILE], 0, ""], "A file in this request cannot be read"),
        ("caption_many", [[None], 0, ""], "give a list of files, each as"),
        ("caption_many", [None, 0, ""], "Add photos"),
        ("caption_many", [[], "x", ""], "num_beams: give a number, not a text"),
    ],
)
def test_a_wrong_request_has_its_reason(app, endpoint, data, reason):
    begins, told = ask(app, endpoint, data).strip().split("\ndata: ")
    assert begins == "event: error"
    told = json.loads(told)["error"]
    assert reason in told.replace("&lt;", "<") and "\n" not in told and "not with you" not in told


def test_null_stands_for_what_is_not_given(app):
    assert ask(app, "caption", [PHOTO, None, None]) == ask(app, "caption", [PHOTO, 0, ""])
    told = json.loads(ask(app, "explain", [PHOTO, None, None, None]).partition("data: ")[2])
    assert told[0]["method"] == "gradient" and told[0]["words"]


@pytest.mark.parametrize(
    "path, body, status, reason",
    [
        ("call/nothing", {"data": []}, 404, "nothing"),
        ("run/caption", {"data": []}, 404, "Not here"),
        ("api/caption", {"data": []}, 404, "Not here"),
        ("component_server", {}, 404, "Not here"),
        ("queue/join", {"data": [], "fn_index": 999, "session_hash": "x"}, 404, "no such endpoint"),
        ("call/v2/nothing", {}, 404, "no such endpoint"),
        ("call/v2/caption", {}, 422, "required argument: photo"),
        ("call/v2/caption", {"photo": PHOTO, "beams": 1}, 422, "`beams` is not a valid"),
        ("call/caption", {"data": "x"}, 422, "valid list"),
    ],
)
def test_what_the_page_does_not_have(app, path, body, status, reason):
    answer = fetch(f"{app.address}/gradio_api/{path}", body)
    assert answer[0] == status and reason in answer[1] and '"detail"' in answer[1]
    assert "Traceback" not in app.log.read_text()


NOTHING = "no reason at all"


def ask_event(app, index, data):
    """What an event of the page answers, by its place in the page's list: None if it goes well."""
    body = {"data": data, "fn_index": index, "session_hash": "visitor", "event_data": ["x"]}
    assert fetch(f"{app.address}/gradio_api/queue/join", body)[0] == 200
    address = f"{app.address}/gradio_api/queue/data?session_hash=visitor"
    with urllib.request.urlopen(address, timeout=30) as answer:
        for line in answer:
            message = json.loads(line.removeprefix(b"data: ")) if line.strip() else {}
            if message.get("msg") == "process_completed":
                return None if message["success"] else message["output"]["error"] or NOTHING
    raise AssertionError("no end of it")


def test_each_event_of_the_page_says_what_is_wrong(app):
    events = json.loads(fetch(f"{app.address}/config")[1])["dependencies"]
    events = [event for event in events if event["backend_fn"]]
    assert len(events) > 30
    for event in events:
        wrong = len(event["inputs"])
        for data in ([None] * (wrong + 1), *([x] * wrong for x in (None, "SECRETWORD", [1], {}))):
            told = ask_event(app, event["id"], data)
            assert told != NOTHING and "went wrong here" not in (told or ""), (event, data)
    assert "Traceback" not in app.log.read_text() and "SECRETWORD" not in app.log.read_text()


def test_a_fault_of_ours_has_a_number(caplog):
    """Wherever it happens: gradio would tell nothing at all."""
    told = gradio_internals.describe_error(RuntimeError("SECRETWORD"), False)["error"]
    number = re.search(r"not with you \((\w{8})\)", told)[1]
    assert number in caplog.text and "SECRETWORD" not in told + caplog.text


def test_what_another_visitor_gave_is_not_listed(app, photo, checkpoint):
    """A photo that was given has an address that only its content tells."""
    client = gradio_client.Client(app.address, verbose=False)
    text = client.predict(photo, api_name="/caption")
    assert text == load(checkpoint).caption(draw_photo()).text
    uploads = app.log.parent / "uploads"
    (kept,) = uploads.rglob("photo.png")
    assert len(kept.parent.name) == 64  # a hash
    for name in (uploads, kept.parent):
        status, _ = fetch(f"{app.address}/gradio_api/file={name}")
        assert status in (403, 404)


def test_a_photo_that_was_removed_and_one_that_finds_no_room(checkpoint, photo, tmp_path):
    with serve_app(tmp_path, checkpoint) as app:
        client = gradio_client.Client(app.address, verbose=False)
        assert client.predict(photo, api_name="/caption")
        (kept,) = (tmp_path / "uploads").rglob("photo.png")
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
