"""What a lens asks for: other maps or another text of its photo, each head's map, a figure, the
data."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency
from PIL import Image

from model import Caption, Captioner
from model.errors import OptionError
from model.explain.methods import DEFAULT_METHOD, get_method
from model.memory import Memory
from model.network.network import EncodedPhoto
from model.output.figures import draw_contact_sheet, save_figure
from model.output.overlays import DEFAULT_STYLE, get_style
from model.output.records import make_explanation_record
from ui.lens import make_answer_script
from ui.lens.values import (
    EmptyValue,
    ExplainedValue,
    HeadMapsValue,
    make_empty_value,
    make_explained_value,
    make_head_maps_value,
)
from ui.serving.cancellation import check_still_waiting
from ui.serving.captioners import Captioners
from ui.serving.request_checks import read_event
from ui.serving.requests import MODEL_EVENT, NEWEST_EVENT, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.tabs.choice import CaptionerChoice
from ui.tabs.lens_translations import connect_translation
from ui.tabs.memory import NONE, choose_memory
from ui.uploads.photos import require_photo


@dataclass(frozen=True)
class MapSettings:
    """Which maps are shown: all layers or heads where there is no number."""

    method: str = DEFAULT_METHOD
    layer: int | None = None
    head: int | None = None

    @classmethod
    def parse(cls, values: dict[str, Any]) -> "MapSettings":
        """The settings that a page sent, which may be anything. Raises OptionError."""
        method = get_method(str(values.get("method") or DEFAULT_METHOD))
        numbers = {}
        for name in ("layer", "head"):
            number = values.get(name)
            if number is not None and type(number) is not int:  # True is an int too
                raise OptionError(f"{name} must be a whole number, not {number!r}")
            numbers[name] = number if method.has_layers else None
        return cls(method.name, **numbers)


def explain_for_lens(
    captioner: Captioner,
    photo: Image.Image | EncodedPhoto,
    caption: Caption | str,
    settings: MapSettings = MapSettings(),  # noqa: B008 (frozen)
    *,
    continues: bool = False,
    memory: Memory | None = None,
    memory_name: str = NONE,
) -> ExplainedValue:
    """Explain a caption, or any sentence, and make the lens's value of it.

    continues: whether an alternative may be chosen, and the caption goes on from it.
    memory, memory_name: what the words may look at too, and its name in the menu.

    Raises OptionError as `Captioner.explain` and `Explanation.heatmap` do.
    """
    encoded = captioner.encode([photo], memory)[0]
    explanation = captioner.explain(
        encoded, caption, methods=[settings.method], on_step=check_still_waiting
    )
    return make_explained_value(
        explanation,
        captioner.alternatives(encoded, caption),
        captioner=captioner,
        method=settings.method,
        layer=settings.layer,
        head=settings.head,
        continues=continues,
        memory_name=memory_name,
    )


def explain_heads(
    captioner: Captioner,
    photo: Image.Image,
    text: str,
    method: str,
    memory: Memory | None = None,
    key: str = "",
) -> HeadMapsValue:
    """Each head's own map of every word of a text.

    key: what the lens sent with its question; it comes back with the answer.

    Raises OptionError for a method without layers.
    """
    if not get_method(method).has_layers:
        raise OptionError(f"the method {method!r} has no layers or heads to choose from")
    explanation = captioner.explain(
        photo, text, methods=[method], memory=memory, on_step=check_still_waiting
    )
    return make_head_maps_value(explanation, method, key)


def make_download(
    captioner: Captioner,
    photo: Image.Image,
    text: str,
    values: dict[str, Any],
    memory: Memory | None = None,
) -> dict[str, str]:
    """The figure (PNG) or the data (JSON) of what the lens shows, as a file's name and address.

    The address holds the file itself: nothing of a visitor's is left on the server.

    values: as the lens sent them; "kind" is "png" or "json", for the rest see `read_drawing`.
    """
    settings = MapSettings.parse(values)
    explanation = captioner.explain(
        photo, text, methods=[settings.method], memory=memory, on_step=check_still_waiting
    )
    maps = explanation.heatmaps(settings.method, layer=settings.layer, head=settings.head)
    about = {
        "text": explanation.text,
        "method": settings.method,
        "layer": settings.layer,
        "head": settings.head,
        "checkpoint": captioner.name,
        **({} if captioner.prompt is None else {"prompt": captioner.prompt}),
    }
    if values.get("kind") == "json":
        record = make_explanation_record(explanation, maps, about)
        content, name = json.dumps(record, ensure_ascii=False).encode(), "captionlens.json"
    else:
        about |= read_drawing(values)
        buffer = io.BytesIO()
        save_figure(draw_contact_sheet(photo, explanation, maps, about), buffer, about)
        content, name = buffer.getvalue(), "captionlens.png"
    encoded = base64.b64encode(content).decode()
    return {"name": name, "url": f"data:application/octet-stream;base64,{encoded}"}


def read_drawing(values: dict[str, Any]) -> dict[str, Any]:
    """How a lens draws its maps, as figures need it, so that what is saved is what is shown.

    values: as the lens sent them: "shared" puts all maps on one scale, "colours" is a style,
        "strength" a number from 0 to 1. Raises OptionError.
    """
    strength = values.get("strength", 1.0)
    if type(strength) not in (int, float) or not 0 <= strength <= 1:
        raise OptionError(f"strength must be a number from 0 to 1, not {strength!r}")
    colours = str(values.get("colours") or DEFAULT_STYLE)
    get_style(colours)
    scale = "shared" if values.get("shared") else "word"
    return {"scale": scale, "colours": colours, "strength": strength}


def empty_lens(prompt: str) -> Callable[[Runs], EmptyValue]:
    """A handler for when there is nothing to show any more: what still runs ends."""

    def end_runs(runs: Runs) -> EmptyValue:
        runs.begin()
        return make_empty_value(prompt)

    return end_runs


def tell_end(lens: gr.HTML, request: Dependency, kind: str, answer: gr.JSON | None = None) -> None:
    """Tell a lens that a request of its own has ended, well or not.

    kind: one of those that `requests.js` counts.
    answer: holds what came, where that is not the lens's value.
    """
    script = make_answer_script(lens, f"{kind}-ended")
    inputs = None if answer is None else [answer]
    request.success(None, inputs, None, js=script, api_visibility="private")
    request.failure(None, None, None, js=script, api_visibility="private")


def connect_lens(
    lens: gr.HTML,
    runs: gr.State,
    photo: gr.Image,
    choice: CaptionerChoice,
    captioners: Captioners,
    *,
    continues: bool,
) -> None:
    """Answer what a lens asks about its photo."""

    def read_memory(values: dict[str, Any], own: Memory | None) -> tuple[Memory | None, str]:
        memory_name = str(values.get("memory") or NONE)
        return choose_memory(memory_name, own), memory_name

    @request_handler(captioners)
    def explain_text(
        runs: Runs,
        picture: Image.Image | None,
        name: str | None,
        own: Memory | None,
        event: gr.EventData,
    ):
        values = read_event(event)
        captioner = captioners.get(values.get("model") or name, values.get("prompt"))
        text, settings = str(values.get("text") or ""), MapSettings.parse(values)
        memory, memory_name = read_memory(values, own)
        return explain_for_lens(
            captioner,
            require_photo(picture),
            text,
            settings,
            continues=continues,
            memory=memory,
            memory_name=memory_name,
        )

    @request_handler(captioners)
    def map_heads(
        picture: Image.Image | None, name: str | None, own: Memory | None, event: gr.EventData
    ):
        values = read_event(event)
        captioner = captioners.get(values.get("model") or name, values.get("prompt"))
        text, method = str(values.get("text") or ""), MapSettings.parse(values).method
        memory, _ = read_memory(values, own)
        key = str(values.get("key") or "")
        return explain_heads(captioner, require_photo(picture), text, method, memory, key)

    @request_handler(captioners)
    def save_maps(
        picture: Image.Image | None, name: str | None, own: Memory | None, event: gr.EventData
    ):
        values = read_event(event)
        captioner = captioners.get(values.get("model") or name, values.get("prompt"))
        text, (memory, _) = str(values.get("text") or ""), read_memory(values, own)
        return make_download(captioner, require_photo(picture), text, values, memory)

    def end_runs(runs: Runs) -> None:
        runs.begin()

    heads, file = gr.JSON(visible=False), gr.JSON(visible=False)
    inputs = [photo, choice.model, choice.memory.own]
    explaining = lens.explain(explain_text, [runs, *inputs], [lens], **PAGE_EVENT, **NEWEST_EVENT)
    # a caption that came meanwhile asks for its own heads at once, and each request has its end
    settings = {**PAGE_EVENT, **MODEL_EVENT, "trigger_mode": "multiple"}
    mapping = lens.heads(map_heads, inputs, [heads], **settings)
    saving = lens.save(save_maps, inputs, [file], **settings)
    connect_translation(lens, captioners)
    lens.give_up(end_runs, [runs], None, **PAGE_EVENT)
    tell_end(lens, explaining, "ask")
    tell_end(lens, mapping, "heads", heads)
    tell_end(lens, saving, "save", file)
