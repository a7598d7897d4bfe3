"""A fault of the program is never told as the visitor's mistake: it has a number, and the log where
it happened.

The page runs in this process, with a decoder that makes a slip as a programmer would.
"""

import json
import logging
import re
import urllib.request

import gradio as gr
import pytest

from tests.support.tiny import draw_photo, tiny_captioner
from ui.page import build
from ui.serving.captioners import Captioners
from ui.uploads.photos import to_data_url

PHOTO = {"url": to_data_url(draw_photo())}
SLIP = "zip() argument 2 is shorter than argument 1"


def slip(*args, **kwargs):
    """What the tree's guards raise: a ValueError, as a visitor's mistakes are too."""
    return list(zip([1, 2], [1], strict=True))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A whole page: (address, its events by the names of their handlers, its captioner)."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_captioner((42, 84)).save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLENS_CHECKPOINT", str(folder))
        patch.setenv("CAPTIONLENS_ALLOW_HUB", "1")
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        captioners = Captioners()
        demo = build(captioners).queue()
        _, address, _ = demo.launch(
            _frontend=False,  # else gradio waits 3 s, too little on a busy machine
            prevent_thread_lock=True,
            quiet=True,
            run_history=False,
        )
        yield address, demo, captioners.get()
        demo.close()


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "captionlens")
    return caplog


def find_event(demo: gr.Blocks, module: str, handler: str) -> dict:
    """The page's event whose handler has this name."""
    for event in demo.config["dependencies"]:
        function = demo.fns[event["id"]].fn
        if (getattr(function, "__module__", ""), getattr(function, "__name__", "")) == (
            module,
            handler,
        ):
            return event
    raise AssertionError(f"no event is handled by {module}.{handler}")


def send(address: str, event: int, data: list, event_data=None) -> list[dict]:
    """All that the page sends for an event."""
    body = {"data": data, "fn_index": event, "session_hash": "me", "event_data": event_data}
    request = urllib.request.Request(
        f"{address}gradio_api/queue/join",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=60).close()
    messages = []
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=me") as answer:
        for line in answer:
            if line.strip():
                messages.append(json.loads(line.removeprefix(b"data: ")))
            if messages and messages[-1]["msg"] == "process_completed":
                return messages
    raise AssertionError("no end of it")


MODULES = {
    "caption": "ui.tabs.caption",
    "explain": "ui.tabs.explain",
    "lens": "ui.tabs.lens_requests",
    "lesson": "ui.lesson.tab",
    "many": "ui.tabs.many",
    "endpoints": "ui.endpoints",
}
# What each handler gets; the first null is a state, the second stands for the first model, before
# its prompt.
CAPTION_OPTIONS = ["beams", 2, 1, 1.0, "none", None]
REQUESTS = [
    ("caption", "caption_photo", [None, PHOTO, None, "", "", *CAPTION_OPTIONS]),
    ("caption", "caption_new_photo", [None, PHOTO, None, "", "", *CAPTION_OPTIONS]),
    ("caption", "continue_caption", [None, PHOTO, None, "", *CAPTION_OPTIONS]),
    ("explain", "explain_sentence", [None, PHOTO, "a dog", None, "", "none", None]),
    ("lens", "explain_text", [None, PHOTO, None, None]),
    ("lens", "map_heads", [PHOTO, None, None]),
    ("lens", "save_maps", [PHOTO, None, None]),
    ("lesson", "start_if_new", [None, PHOTO, None, ""]),
    ("endpoints", "caption_photo", [PHOTO, 2, "", ""]),
    ("endpoints", "explain_photo", [PHOTO, "a dog", "gradient", ""]),
]


def test_handlers_are_called_after_what_they_do(page):
    """A verb with an object, and not the endpoint's name, which is what the page answers with."""
    names = [
        function.fn.__name__
        for function in page[1].fns.values()
        if getattr(function.fn, "__module__", "").startswith("ui.")
    ]
    assert {"caption_photo", "explain_photo", "caption_files"} <= set(names)
    unclear = [name for name in names if name != "<lambda>" and "_" not in name.strip("_")]
    assert not unclear


def check_fault_has_a_number(messages, log):
    """The visitor gets a number and nothing of the fault; the log has where it happened."""
    output = messages[-1]["output"]
    assert not messages[-1]["success"]
    (number,) = re.findall(r"Something went wrong here, not with you \((\w{8})\)", output["error"])
    assert SLIP not in json.dumps(messages)
    assert f"{number}: ValueError" in log.text and "in slip" in log.text
    assert SLIP not in log.text, "a message may quote the visitor"
    assert log.messages[-1].endswith(f"failed, {number}")


@pytest.mark.parametrize("room, handler, data", REQUESTS, ids=lambda x: x if type(x) is str else "")
def test_a_slip_in_the_network_has_a_number(page, log, monkeypatch, room, handler, data):
    address, demo, captioner = page
    monkeypatch.setattr(captioner.network.decoder, "forward", slip)
    event = find_event(demo, MODULES[room], handler)
    messages = send(address, event["id"], data, {"text": "a dog", "prefix": "a"})
    check_fault_has_a_number(messages, log)


def upload(address: str) -> dict:
    """A photo that was uploaded, as the page names it."""
    boundary = "boundary"
    content = urllib.request.urlopen(PHOTO["url"]).read()
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        ).encode()
        + content
        + f"\r\n--{boundary}--\r\n".encode()
    )
    request = urllib.request.Request(
        f"{address}gradio_api/upload",
        body,
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    path = json.load(urllib.request.urlopen(request))[0]
    return {"path": path, "orig_name": "a.jpg", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    "room, handler", [("many", "write_captions"), ("endpoints", "caption_files")]
)
def test_a_slip_among_many_photos(page, log, monkeypatch, room, handler):
    address, demo, captioner = page
    monkeypatch.setattr(captioner.network.decoder, "forward", slip)
    event = find_event(demo, MODULES[room], handler)
    values = [[upload(address)], 1]
    captioner_values = ["", None, "", "none", None]  # behind the language
    data = [*values, "", ""] if handler == "caption_files" else [None, *values, *captioner_values]
    check_fault_has_a_number(send(address, event["id"], data), log)


def test_a_slip_in_a_step_of_the_lesson(page, log, monkeypatch):
    address, demo, _ = page
    start = find_event(demo, "ui.lesson.tab", "start_if_new")
    assert send(address, start["id"], [None, PHOTO, None, ""])[-1]["success"]
    monkeypatch.setattr("ui.lesson.tab.take_step_apart", slip)
    choose = find_event(demo, "ui.lesson.tab", "choose_step")
    check_fault_has_a_number(send(address, choose["id"], [None, 0, 0, 0, ""]), log)


def test_a_slip_while_a_model_is_loaded(page, log, monkeypatch):
    address, demo, _ = page
    monkeypatch.setattr("ui.serving.captioners.load", slip)
    monkeypatch.setattr("ui.serving.captioners.try_checkpoint", lambda name: name)
    event = find_event(demo, "ui.tabs.choice", "load_captioner")
    check_fault_has_a_number(send(address, event["id"], ["you/model", "before"]), log)


def test_a_slip_while_a_photo_is_read(page, log, monkeypatch):
    """Before the handler: its message may quote the visitor, so the log has all but that."""
    address, demo, _ = page
    monkeypatch.setattr("ui.uploads.photos.load_image", slip)
    event = find_event(demo, "ui.endpoints", "caption_photo")
    output = send(address, event["id"], [PHOTO, 1, "", ""])[-1]["output"]
    (number,) = re.findall(r"not with you \((\w{8})\)", output["error"])
    assert f"{number}: ValueError" in log.text and "in slip" in log.text
    assert SLIP not in log.text


@pytest.mark.parametrize("is_debugging", [False, True])
@pytest.mark.parametrize(
    "room, handler, data, message",
    [
        ("endpoints", "explain_photo", [PHOTO, "a dog", "magic", ""], "unknown method"),
        ("endpoints", "caption_photo", [None, 1, "", ""], "Give a photo"),
        (
            "caption",
            "caption_photo",
            [None, PHOTO, None, "", "dog " * 40, *CAPTION_OPTIONS],
            "the beginning",
        ),
    ],
)
def test_debugging_shows_the_trace_of_a_visitors_mistake(
    page, log, monkeypatch, room, handler, data, message, is_debugging
):
    address, demo, _ = page
    monkeypatch.setenv("CAPTIONLENS_DEBUG", "1" if is_debugging else "")
    event = find_event(demo, MODULES[room], handler)
    messages = send(address, event["id"], data)
    assert message in json.dumps(messages) and "Traceback" not in json.dumps(messages)
    assert ("Traceback" in log.text) == is_debugging
