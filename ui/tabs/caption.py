"""The caption tab: a photo in, its caption word by word, and where each word looked."""

import html
import math
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
from PIL import Image

from model import Captioner
from model.errors import CaptionLensError, OptionError
from ui import lens
from ui.actions import QUIET, TURNS, beams_slider, failed, needed, sent, wire
from ui.serving.captioners import SHIPPED_NAME, Captioners
from ui.serving.requests import answers
from ui.uploads.photos import examples, photo_input

SAY = "Drop a photo, or choose an example. The caption appears here, with where each word looked."
KNOWS = (
    "The shipped model learned from 6,000 photos of people and dogs, mostly outdoors (Flickr8k). "
    "Of other things it knows little, and names what is nearest."
)
UNLIKE = (
    "This photo is unlike the ones this model learned from: expect a worse caption, or choose "
    "another model."
)
EVERY = 0.1  # seconds: how often a page hears of a caption that grows
SEARCHES = ["likeliest (beams)", "by chance (sampling)"]
TO_THE_TOP = "(...inputs) => { scrollTo({ top: 0 }); return inputs }"  # where the caption appears


def write(
    captioner: Captioner,
    photo: Image.Image,
    *,
    prefix: str = "",
    search: str = SEARCHES[0],
    num_beams: int = 5,
    num_captions: int = 1,
    temperature: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """What the lens shows while a caption is written, and when it is whole.

    Raises ValueError for a beginning that is too long, and for a caption without a word.
    """
    asked, longest = len(captioner.tokenizer.encode(prefix)[0]), captioner.options().max_length
    if asked >= longest:
        raise OptionError(f"The beginning has {asked} tokens; it may have at most {longest - 1}")
    yield lens.writing([], photo)
    features = captioner.encode([photo])[0]
    options: dict[str, Any] = {"prefix": prefix, "num_captions": num_captions}
    if search == SEARCHES[1]:
        options |= {"sample": True, "temperature": temperature, "top_p": 0.95}
    else:
        options |= {"sample": False, "num_beams": max(num_beams, num_captions)}
    last, told = None, -math.inf
    for ranked in captioner.stream_captions(features, **options):
        last = ranked
        # each way to the page takes longer than a step
        if time.monotonic() - told > EVERY:
            yield lens.writing(ranked[0].words)
            told = time.monotonic()
    captions = [caption for caption in last if caption.words]
    if not captions:
        raise OptionError("The model has nothing to say about this photo.")
    value = lens.reading(captioner, photo, captions[0], features=features, continues=True)
    value["captions"] = [{"text": c.text, "likely": lens.likely(c)} for c in captions]
    familiarity = captioner.familiarity
    unlike = familiarity is not None and familiarity.unlike(features)
    yield value | {"hint": UNLIKE if unlike else ""}


def build(captioners: Captioners, model: gr.Dropdown) -> tuple[gr.Image, gr.HTML]:
    """Lay out the tab and wire it; returns its photo and its lens."""
    with gr.Row(elem_classes="photo-and-lens"):
        with gr.Column(scale=2, min_width=280):
            photo = photo_input()
            button = gr.Button("Caption", variant="primary")
            example = examples(photo)
            with gr.Accordion("Options", open=False):
                search = gr.Radio(SEARCHES, value=SEARCHES[0], label="Choose the words")
                num_beams = beams_slider(captioners)
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
            note = gr.Markdown(KNOWS, visible=captioners.names[0] == SHIPPED_NAME)
        with gr.Column(scale=3, min_width=320):
            shown = lens.lens(SAY, "caption-lens")

    def answer(picture, model_name, prefix, search, num_beams, num_captions, temperature):
        """Write the caption of a photo, word by word."""
        needed(picture)
        begun = False
        try:
            for value in write(
                captioners.get(model_name),
                picture,
                prefix=prefix or "",
                search=search,
                num_beams=int(num_beams),
                num_captions=int(num_captions),
                temperature=temperature,
            ):
                begun = True
                yield value
        except CaptionLensError as error:
            # not raised: a request that fails is taken for a photo that cannot be opened
            gr.Warning(html.escape(str(error), quote=False))
            yield lens.empty(str(error)) if begun else gr.skip()

    @answers(captioners)
    def run_on_new(picture, *options):
        """As `answer`; that a photo was taken away comes here too, and is no mistake."""
        if picture is not None:
            yield from answer(picture, *options)

    @answers(captioners)
    def go_on(
        picture, model_name, search, num_beams, num_captions, temperature, event: gr.EventData
    ):
        """As `answer`, from a runner-up that was chosen."""
        prefix = str(sent(event).get("prefix", ""))
        options = search, num_beams, num_captions, temperature
        yield from answer(picture, model_name, prefix, *options)

    run = answers(captioners)(answer)
    options = [search, num_beams, num_captions, temperature]
    inputs = [photo, model, prefix, *options]
    # A photo that comes while a caption is being written has its turn afterwards.
    quiet = {**QUIET, **TURNS, "trigger_mode": "always_last", "js": TO_THE_TOP}
    asked = wire(shown, photo, model, captioners, continues=True)
    went_on = shown.go_on(
        go_on, [photo, model, *options], [shown], cancels=[asked], **QUIET, **TURNS
    )
    pressed = button.click(run, inputs, [shown], cancels=[asked, went_on], **quiet)
    # what is still being said of the photo before is of no use any more
    old = [asked, went_on, pressed]
    changed = photo.input(run_on_new, inputs, [shown], cancels=old, **quiet)
    picked = example.then(run, inputs, [shown], cancels=old, **quiet)
    for event in (pressed, changed, picked, went_on):
        event.failure(None, None, None, js=failed(shown), api_visibility="private")
    for event in (pressed, changed, picked):  # a photo that cannot be opened is not shown
        event.failure(lambda: None, None, [photo], api_visibility="private")
    photo.clear(
        lambda: lens.empty(SAY),
        None,
        [shown],
        cancels=[*old, changed, picked],
        api_visibility="private",
    )
    search.change(
        lambda how: (gr.update(visible=how == SEARCHES[0]), gr.update(visible=how == SEARCHES[1])),
        [search],
        [num_beams, temperature],
        api_visibility="private",
    )
    model.change(lambda name: gr.update(visible=name == SHIPPED_NAME), [model], [note], **QUIET)
    return photo, shown
