"""What the lens asks for, and what scripts ask for: the same functions, with one-line errors."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image

from model import Captioner
from model.errors import CaptionLensError, OptionError
from model.explain.methods import DEFAULT_METHOD, METHODS, check_method
from model.output.figures import contact_sheet, save_figure
from model.output.records import explanation_record
from ui import lens
from ui.errors import complaint
from ui.serving.cancellation import still_wanted
from ui.serving.captioners import Captioners
from ui.serving.request_checks import check_text
from ui.serving.requests import answers

MAX_BEAMS = 10
DOWNLOAD = """(file) => {
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.name;
  link.click();
}"""
# A toast says what went wrong; the usual progress would also stamp "Error" on each output.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Answers that need the processor take turns, two at a time: two cores are busy with one, and a
# slow one alone does not hold up the rest.
TURNS: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "turns"}


def beams_slider(captioners: Captioners) -> gr.Slider:
    """The width of the search, at first that of the captioner that the page begins with."""
    return gr.Slider(
        1,
        MAX_BEAMS,
        captioners.get().options().num_beams,
        step=1,
        label="Beams",
        info="How many captions are weighed against each other; 1 is greedy.",
    )


def failed(shown: gr.HTML) -> str:
    """What the browser does when a request failed: a toast has said why, the lens stops waiting."""
    return (
        f"() => document.querySelector('#{shown.elem_id} .lens').parentElement"
        ".dispatchEvent(new CustomEvent('lens:failed'))"
    )


@contextmanager
def one_line() -> Iterator[None]:
    """What a visitor may have got wrong comes to them as one line, without a trace in the log."""
    try:
        yield
    except CaptionLensError as error:
        raise complaint(error) from None


def chosen(captioners: Captioners, model: str | None) -> Captioner:
    """The captioner a visitor chose; see `Captioners.get`."""
    with one_line():
        return captioners.get(model)


def needed(photo: Image.Image | None) -> Image.Image:
    if photo is None:
        raise complaint("Choose a photo first.")
    return photo


def sent(event: gr.EventData) -> dict[str, Any]:
    """What a lens sends with its event; nothing, if it is no such thing."""
    values = event._data if isinstance(event._data, dict) else {}
    for name, value in values.items():
        check_text(name, str(value))
    return values


def explain(
    captioner: Captioner, photo: Image.Image, asked: dict[str, Any], continues: bool
) -> dict[str, Any]:
    """A lens's value for a text with a method, layer and head, as the page sends them."""
    with one_line():
        wanted = _checked(asked)
        text = str(asked.get("text") or "")
        return lens.reading(captioner, photo, text, continues=continues, **wanted)


def save(captioner: Captioner, photo: Image.Image, asked: dict[str, Any]) -> dict[str, str]:
    """The figure (PNG) or the data (JSON) of what the lens shows, as a file's name and address.

    The address holds the file itself: nothing of a visitor's is left on the server.
    """
    with one_line():
        wanted = _checked(asked)
        method, layer, head = wanted["method"], wanted["layer"], wanted["head"]
        text = str(asked.get("text") or "")
        explanation = captioner.explain(photo, text, methods=[method], on_step=still_wanted)
        maps = explanation.heatmaps(method, layer=layer, head=head)
    about = {"text": explanation.text, **wanted, "checkpoint": captioner.name}
    if asked.get("kind") == "json":
        data = explanation_record(explanation, maps, about)
        content, name = json.dumps(data, ensure_ascii=False).encode(), "captionlens.json"
    else:
        about["scale"] = "shared" if asked.get("shared") else "word"
        buffer = io.BytesIO()
        save_figure(contact_sheet(photo, explanation, maps, about), buffer, about)
        content, name = buffer.getvalue(), "captionlens.png"
    encoded = base64.b64encode(content).decode()
    return {"name": name, "url": f"data:application/octet-stream;base64,{encoded}"}


def _checked(asked: dict[str, Any]) -> dict[str, Any]:
    """Method, layer and head out of what a page sent, which may be anything."""
    method = check_method(str(asked.get("method") or DEFAULT_METHOD))
    wanted: dict[str, Any] = {"method": method}
    for name in ("layer", "head"):
        value = asked.get(name)
        if value is not None and type(value) is not int:  # True is an int too
            raise OptionError(f"{name} must be a whole number, not {value!r}")
        wanted[name] = value if METHODS[method].has_layers else None
    return wanted


def wire(
    shown: gr.HTML, photo: gr.Image, model: gr.Dropdown, captioners: Captioners, continues: bool
) -> Dependency:
    """Answer what a lens asks about its photo; returns the event that may replace its maps."""

    @answers(captioners)
    def on_explain(picture: Image.Image | None, name: str | None, event: gr.EventData):
        asked = sent(event)
        captioner = chosen(captioners, asked.get("model") or name)
        return explain(captioner, needed(picture), asked, continues)

    @answers(captioners)
    def on_save(picture: Image.Image | None, name: str | None, event: gr.EventData):
        asked = sent(event)
        captioner = chosen(captioners, asked.get("model") or name)
        return save(captioner, needed(picture), asked)

    file = gr.JSON(visible=False)
    asked = shown.explain(on_explain, [photo, model], [shown], **QUIET, **TURNS)
    saved = shown.save(on_save, [photo, model], [file], **QUIET, **TURNS)
    saved.success(None, [file], None, js=DOWNLOAD, api_visibility="private")
    for event in (asked, saved):
        event.failure(None, None, None, js=failed(shown), api_visibility="private")
    return asked
