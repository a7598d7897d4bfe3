"""The tab "Explain my sentence": where a visitor's own words look, and how likely they are."""

from typing import NamedTuple

import gradio as gr
from PIL import Image

from model.explain.replay import tokenize_sentence
from ui.lens import create_lens, make_failure_script
from ui.lens.values import make_empty_value, make_writing_value
from ui.serving.captioners import Captioners
from ui.serving.requests import NEWEST_EVENT, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.tabs.lens_requests import connect_lens, empty_lens, explain_for_lens
from ui.uploads.photos import create_photo_input, require_photo

PROMPT = (
    "Type what you see. For each of your words: where the model looks, how likely it finds the "
    "word, and what it would have said instead."
)


class ExplainTab(NamedTuple):
    """The tab's components."""

    runs: gr.State
    photo: gr.Image
    sentence: gr.Textbox
    button: gr.Button
    lens: gr.HTML


def build(captioners: Captioners, model: gr.Dropdown) -> ExplainTab:
    """Lay out the tab and connect its events. `model` holds the captioner's name."""
    tab = _lay_out()
    _connect(tab, captioners, model)
    return tab


def _lay_out() -> ExplainTab:
    with gr.Row(elem_classes="photo-and-lens"):
        with gr.Column(scale=1, min_width=240):
            photo = create_photo_input()
            sentence = gr.Textbox(
                label="Your sentence",
                placeholder="A dog runs on grass.",
                max_length=400,
                elem_id="explain-sentence",
            )
            button = gr.Button("Explain", variant="primary")
        with gr.Column(scale=4, min_width=320):
            lens = create_lens(make_empty_value(PROMPT), "explain-lens")
    return ExplainTab(gr.State(Runs()), photo, sentence, button, lens)


def _connect(tab: ExplainTab, captioners: Captioners, model: gr.Dropdown) -> None:
    runs, photo, sentence, button, lens = tab

    @request_handler(captioners)
    def explain_sentence(runs: Runs, picture: Image.Image | None, text: str, name: str | None):
        captioner = captioners.get(name)
        require_photo(picture)
        # a sentence that cannot be explained leaves what is shown
        tokenize_sentence(captioner.network, text)
        yield make_writing_value([], picture)
        yield explain_for_lens(captioner, picture, text)

    no_memory = gr.State(None)
    connect_lens(lens, runs, photo, model, captioners, no_memory, continues=False)
    inputs = [runs, photo, sentence, model]
    for listen in (button.click, sentence.submit):
        event = listen(explain_sentence, inputs, [lens], **PAGE_EVENT, **NEWEST_EVENT)
        event.failure(None, None, None, js=make_failure_script(lens), api_visibility="private")
    for listen in (photo.input, photo.clear):  # the maps are of the photo before
        listen(empty_lens(PROMPT), [runs], [lens], api_visibility="private")
