"""Whatever a request holds, its sender gets one clear line, and no word of it is in the log.

What the page can be asked is read from its own configuration, so that a new event is here the day
that it is added.
"""

import json
import urllib.error
import urllib.request
from itertools import chain

import pytest

from tests.support.tiny import draw_photo
from tools.serving import serve_app
from ui.uploads.photos import to_data_url

pytestmark = pytest.mark.slow  # starts a program

WORD = "SECRETWORD"
PHOTO = {"url": to_data_url(draw_photo())}
DEEP = json.loads("[" * 60 + "]" * 60)
WRONG_VALUES = [
    None,
    WORD,
    f"half of {WORD} \ud83d",
    f"{WORD}\0",
    True,
    float("inf"),
    float("nan"),
    -1e308,
    10**400,
    [WORD],
    [[WORD]],
    {},
    {WORD: WORD},
    {"path": f"/home/{WORD}", "meta": {"_type": "gradio.FileData"}},
    {"path": f"http://{WORD}.invalid:99999/x", "meta": {"_type": "gradio.FileData"}},
    {"url": f"data:image/png;base64,{WORD}"},
    {"path": None, "url": f"file:///{WORD}"},
    {"path": f"\0{WORD}", "meta": {"_type": "gradio.FileData"}},
    {"path": f"/{WORD * 200}", "meta": {"_type": "gradio.FileData"}},
    DEEP,
]
WRONG_EVENTS = [
    None,
    WORD,
    [WORD],
    {"index": float("inf")},
    {"index": WORD},
    {"text": f"{WORD} \ud800", "prefix": f"{WORD} \ud800"},
    {"text": None, "prefix": None, "model": None},
    {"text": {WORD: 1}, "layer": [WORD], "head": 1e308, "method": [WORD]},
    {"text": "a dog", "method": "attention", "layer": -(10**30), "head": 10**30},
    {"text": "a dog", "model": f"/home/{WORD}"},
    {"text": "a dog", "kind": WORD, "shared": DEEP},
]


@pytest.fixture(scope="module")
def app(checkpoint, tmp_path_factory):
    with serve_app(tmp_path_factory.mktemp("app"), checkpoint) as app:
        yield app


def post(app, path, body):
    """Status and answer."""
    request = urllib.request.Request(
        f"{app.address}{path}",
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(app, event, data, event_data):
    """What an event of the page answers: its message for what is wrong; None if it goes well."""
    body = {"data": data, "fn_index": event["id"], "session_hash": "me", "event_data": event_data}
    status, answer = post(app, "/gradio_api/queue/join", body)
    if status != 200:
        assert status < 500, answer
        return json.loads(answer)["detail"]
    address = f"{app.address}/gradio_api/queue/data?session_hash=me"
    with urllib.request.urlopen(address, timeout=30) as answer:
        for line in answer:
            message = json.loads(line.removeprefix(b"data: ")) if line.strip() else {}
            if message.get("msg") == "process_completed":
                return None if message["success"] else message["output"]["error"] or "nothing"
    raise AssertionError("no end of it")


def check_log(app):
    log = app.log.read_text()
    assert WORD not in log and "Traceback" not in log, log[-3000:]


def find_right_value(component):
    """What a visitor sends who changes nothing but the photo. The lesson's choices have no value
    before there is one."""
    if component["type"] == "image":
        return PHOTO
    value = component["props"].get("value")
    missing = {"radio": 0, "dropdown": 0, "textbox": "a dog"}
    return missing.get(component["type"]) if value is None else value


def make_requests(page_config, event):
    """Wrong values in each place, beside right ones, and events of no page of ours."""
    components = {component["id"]: component for component in page_config["components"]}
    right = [find_right_value(components[index]) for index in event["inputs"]]
    yield [*right, None], None
    for index in range(len(right)):
        for wrong in WRONG_VALUES:
            yield [*right[:index], wrong, *right[index + 1 :]], None
    for wrong in WRONG_EVENTS:
        yield right, wrong
    yield right, None  # what the session holds now is what later events ask about


def test_each_event_says_what_is_wrong(app):
    with urllib.request.urlopen(f"{app.address}/config") as answer:
        page_config = json.load(answer)
    events = [event for event in page_config["dependencies"] if event["backend_fn"]]
    assert len(events) > 20
    for event in events:
        for data, event_data in make_requests(page_config, event):
            told = ask(app, event, data, event_data)
            about = (event["targets"], event["api_name"], data, event_data)
            assert told is None or (told and "\n" not in str(told)), about
            assert told != "nothing" and "went wrong here" not in str(told), about
        check_log(app)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"SECRETWORD"',
        b"{SECRETWORD",
        b'{"data": "SECRETWORD"}',
        b'{"data": {"SECRETWORD": 1}}',
        b'{"data": [], "session_hash": ["SECRETWORD"], "fn_index": "SECRETWORD"}',
        b'{"data": [], "session_hash": "SECRETWORD", "fn_index": -1}',
        b'{"data": [], "session_hash": "\\ud800", "fn_index": 1e400}',
        b'{"data": [], "session_hash": null, "event_id": {"SECRETWORD": 1}}',
        b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"\xff\xfeSECRETWORD",
    ],
    ids=range(13),
)
def test_a_body_of_no_use_is_no_fault_of_ours(app, body):
    paths = ("queue/join", "call/caption", "call/v2/caption", "cancel", "reset", "upload")
    more = ("run/caption", "component_server", f"call/{WORD}", f"call/v2/{WORD}", WORD)
    for path in chain(paths, more):
        status, answer = post(app, f"/gradio_api/{path}", body)
        assert status < 500 and "Traceback" not in answer, (path, status, answer)
    check_log(app)
