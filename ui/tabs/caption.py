"""The tab "Caption": a photo in, its caption word by word, and where each word looked."""

import html
import json
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import Dependency
from PIL import Image

from model import Captioner
from model.checkpoint.hub import SHIPPED_NAME
from model.errors import CaptionLensError, OptionError
from model.images import load_image
from model.memory import Memory
from model.search.generation import check_prefix_length
from model.wording import NOTHING_TO_SAY
from ui.errors import log_trace
from ui.lens import create_lens, make_failure_script
from ui.lens.values import (
    ExplainedValue,
    WritingValue,
    make_empty_value,
    make_writing_value,
    rank_captions,
)
from ui.serving.captioners import Captioners
from ui.serving.request_checks import read_event
from ui.serving.requests import NEWEST_EVENT, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.tabs.choice import CaptionerChoice
from ui.tabs.inputs import create_beams_slider
from ui.tabs.lens_requests import connect_lens, empty_lens, explain_for_lens, tell_end
from ui.tabs.memory import NONE, choose_memory
from ui.uploads.photos import (
    EXAMPLES_FOLDER,
    create_examples,
    create_photo_input,
    fit_for_display,
    require_photo,
    to_data_url,
)

PROMPT = (
    "Drop a photo, or choose an example. The caption appears here, with where each word looked."
)
OPENING_PHOTO = EXAMPLES_FOLDER / "photographer.jpg"
OPENING_RESULT = EXAMPLES_FOLDER / "opening.json"  # of `python -m tools.make_opening`
SHIPPED_NOTE = (
    "The shipped model learned from 7,492 photos: people and dogs outdoors (Flickr8k) and everyday "
    "things (COCO). What it has not seen it calls by what is nearest."
)
UNFAMILIAR_HINT = (
    "This photo is unlike the ones this model learned from: expect a worse caption, or choose "
    "another model."
)
UPDATE_SECONDS = 0.1  # between two looks at a caption that grows; the way to the page takes longer
BEAMS, SAMPLING = "beams", "sampling"
SEARCHES = [("likeliest (beams)", BEAMS), ("by chance (sampling)", SAMPLING)]
PHOTO_ID = "caption-photo"
# Before a caption is written: to where it appears. Which photo it is of is noted in the box.
BEGIN_SCRIPT = f"""(runs, photo, ...others) => {{
  const box = document.getElementById("{PHOTO_ID}");
  // its removal comes as input too, with the photo that was there
  if (performance.now() - box.dataset.cleared < 100) photo = null;
  box.dataset.sent = photo?.url ?? "";
  scrollTo({{ top: 0 }});
  return [runs, photo, ...others];
}}"""
CLEAR_SCRIPT = f"""(runs) => {{
  document.getElementById("{PHOTO_ID}").dataset.cleared = performance.now();
  return runs;
}}"""
# A photo that cannot be opened is not shown; the visitor may have chosen another one meanwhile.
FORGET_SCRIPT = f"""(photo) => {{
  const {{ sent }} = document.getElementById("{PHOTO_ID}").dataset;
  return photo?.url === sent ? null : {{ __type__: "update" }};
}}"""


def write_caption(
    captioner: Captioner,
    photo: Image.Image,
    *,
    prefix: str = "",
    search: str = BEAMS,
    num_beams: int = 5,
    num_captions: int = 1,
    temperature: float = 1.0,
    memory: Memory | None = None,
    memory_name: str = NONE,
) -> Iterator[WritingValue | ExplainedValue]:
    """The lens's values while a caption is written, and when it is whole.

    memory, memory_name: what the words may look at too, and its name in the menu.

    Raises OptionError for a prefix that is too long, and for a caption without a word.
    """
    num_prefix_tokens = len(captioner.network.tokenizer.encode(prefix)[0])
    check_prefix_length(
        num_prefix_tokens, captioner.options().max_length
    )  # before the lens changes
    yield make_writing_value([], photo)
    encoded = captioner.encode([photo], memory)[0]
    options: dict[str, Any] = {"prefix": prefix, "num_captions": num_captions}
    if search == SAMPLING:
        options |= {"sample": True, "temperature": temperature, "top_p": 0.95}
    else:
        options |= {"sample": False, "num_beams": max(num_beams, num_captions)}
    ranked, last_update = [], -math.inf
    for ranked in captioner.stream_captions(encoded, **options):
        if time.monotonic() - last_update > UPDATE_SECONDS:
            yield make_writing_value(ranked[0].words)
            last_update = time.monotonic()
    captions = [caption for caption in ranked if caption.words]
    if not captions:
        raise OptionError(NOTHING_TO_SAY)
    value = explain_for_lens(
        captioner, encoded, captions[0], continues=True, memory_name=memory_name
    )
    value["captions"] = rank_captions(captions)
    familiarity = captioner.familiarity
    is_unfamiliar = familiarity is not None and familiarity.is_unfamiliar(encoded)
    value["hint"] = UNFAMILIAR_HINT if is_unfamiliar else ""
    yield value


class CaptionTab(NamedTuple):
    """The tab's components, and the event of its examples."""

    runs: gr.State
    photo: gr.Image
    button: gr.Button
    example: Dependency
    search: gr.Radio
    num_beams: gr.Slider
    temperature: gr.Slider
    num_captions: gr.Slider
    prefix: gr.Textbox
    shipped_note: gr.Markdown
    lens: gr.HTML


def build(captioners: Captioners, choice: CaptionerChoice) -> CaptionTab:
    """Lay out the tab and connect its events."""
    tab = _lay_out(captioners)
    _connect_requests(tab, captioners, choice)
    _connect_options(tab, choice.model)
    return tab


def read_opening_value() -> ExplainedValue:
    """What the page opens with: the shipped captioner's result for an example, computed before."""
    value: ExplainedValue = json.loads(OPENING_RESULT.read_text(encoding="utf-8"))
    value["photo"] = to_data_url(fit_for_display(load_image(OPENING_PHOTO)))
    return value


def _lay_out(captioners: Captioners) -> CaptionTab:
    is_shipped = captioners.names[0] == SHIPPED_NAME
    with gr.Row(elem_classes="photo-and-lens"):
        with gr.Column(scale=1, min_width=240):
            opening = OPENING_PHOTO if is_shipped else None
            photo = create_photo_input(value=opening, elem_id=PHOTO_ID)
            button = gr.Button("Caption", variant="primary")
            example = create_examples(photo)
            with gr.Accordion("Options", open=False):
                search = gr.Radio(SEARCHES, value=BEAMS, label="Choose the words")
                num_beams = create_beams_slider(captioners)
                temperature = gr.Slider(
                    0.1,
                    2,
                    1,
                    step=0.1,
                    label="Temperature",
                    info="Of sampling: lower keeps to the likely words.",
                    visible=False,
                )
                num_captions = gr.Slider(1, 5, 1, step=1, label="Captions side by side")
                prefix = gr.Textbox(
                    label="Begin with", placeholder="A man in", max_lines=1, max_length=200
                )
            shipped_note = gr.Markdown(SHIPPED_NOTE, visible=is_shipped)
        with gr.Column(scale=4, min_width=320):
            value = read_opening_value() if is_shipped else make_empty_value(PROMPT)
            lens = create_lens(value, "caption-lens")
    return CaptionTab(
        gr.State(Runs()),
        photo,
        button,
        example,
        search,
        num_beams,
        temperature,
        num_captions,
        prefix,
        shipped_note,
        lens,
    )


def write_or_warn(
    captioners: Captioners,
    photo: Image.Image | None,
    model_name: str | None,
    prompt: str | None,
    prefix: str | None,
    search: str,
    num_beams: float,
    num_captions: float,
    temperature: float,
    memory_name: str,
    own_memory: Memory | None,
) -> Iterator[Any]:
    """As `write_caption`, from the values of the tab's components.

    What the visitor can mend is a warning and not raised: a request that fails is taken for a photo
    that cannot be opened.
    """
    require_photo(photo)
    has_begun = False
    try:
        for value in write_caption(
            captioners.get(model_name, prompt),
            photo,
            prefix=prefix or "",
            search=search,
            num_beams=int(num_beams),
            num_captions=int(num_captions),
            temperature=temperature,
            memory=choose_memory(memory_name, own_memory),
            memory_name=memory_name,
        ):
            has_begun = True
            yield value
    except CaptionLensError as error:
        log_trace(error)
        gr.Warning(html.escape(str(error), quote=False))
        yield make_empty_value(str(error)) if has_begun else gr.skip()


def _connect_requests(tab: CaptionTab, captioners: Captioners, choice: CaptionerChoice) -> None:
    """Write a caption for the button, a new photo, an example, and a lens that goes on."""

    @request_handler(captioners)
    def caption_photo(runs, picture, *values):
        yield from write_or_warn(captioners, picture, *values)

    @request_handler(captioners)
    def caption_new_photo(runs, picture, *values):
        if picture is not None:  # that a photo was taken away comes here too
            yield from write_or_warn(captioners, picture, *values)

    @request_handler(captioners)
    def continue_caption(
        runs,
        picture,
        model_name,
        prompt,
        search,
        num_beams,
        num_captions,
        temperature,
        memory_name,
        own_memory,
        event: gr.EventData,
    ):
        prefix = str(read_event(event).get("prefix", ""))
        options = search, num_beams, num_captions, temperature, memory_name, own_memory
        yield from write_or_warn(captioners, picture, model_name, prompt, prefix, *options)

    runs, photo, lens = tab.runs, tab.photo, tab.lens
    options = [tab.search, tab.num_beams, tab.num_captions, tab.temperature, *choice.memory.inputs]
    inputs = [runs, photo, *choice.inputs, tab.prefix, *options]
    connect_lens(lens, runs, photo, choice, captioners, continues=True)
    continuing = lens.go_on(
        continue_caption,
        [runs, photo, *choice.inputs, *options],
        [lens],
        **PAGE_EVENT,
        **NEWEST_EVENT,
    )
    settings = PAGE_EVENT | NEWEST_EVENT | {"js": BEGIN_SCRIPT}
    clicked = tab.button.click(caption_photo, inputs, [lens], **settings)
    changed = photo.input(caption_new_photo, inputs, [lens], **settings)
    picked = tab.example.then(caption_photo, inputs, [lens], **settings)
    tell_end(lens, continuing, "ask")
    for event in (clicked, changed, picked, continuing):
        event.failure(None, None, None, js=make_failure_script(lens), api_visibility="private")
    for event in (clicked, changed, picked):
        event.failure(None, [photo], [photo], js=FORGET_SCRIPT, api_visibility="private")
    photo.clear(empty_lens(PROMPT), [runs], [lens], js=CLEAR_SCRIPT, api_visibility="private")


def _connect_options(tab: CaptionTab, model: gr.Dropdown) -> None:
    """Show the options that go with the search, and the note that goes with the model."""
    tab.search.change(
        lambda search: (gr.update(visible=search == BEAMS), gr.update(visible=search == SAMPLING)),
        [tab.search],
        [tab.num_beams, tab.temperature],
        api_visibility="private",
    )
    model.change(
        lambda name: gr.update(visible=name == SHIPPED_NAME),
        [model],
        [tab.shipped_note],
        **PAGE_EVENT,
    )
