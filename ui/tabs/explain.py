"""The tab "Explain my sentence": where a visitor's own words look, and how likely they are."""

from typing import NamedTuple

import gradio as gr
from PIL import Image

from model.explain.replay import tokenize_sentence
from model.memory import Memory
from ui.lens import create_lens, make_failure_script
from ui.lens.values import make_empty_value, make_writing_value
from ui.serving.captioners import Captioners
from ui.serving.requests import NEWEST_EVENT, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.tabs.choice import CaptionerChoice
from ui.tabs.lens_requests import connect_lens, empty_lens, explain_for_lens
from ui.tabs.memory import choose_memory
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


def build(captioners: Captioners, choice: CaptionerChoice) -> ExplainTab:
    """Lay out the tab and connect its events."""
    tab = _lay_out()
    _connect(tab, captioners, choice)
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


def _connect(tab: ExplainTab, captioners: Captioners, choice: CaptionerChoice) -> None:
    runs, photo, sentence, button, lens = tab

    @request_handler(captioners)
    def explain_sentence(
        runs: Runs,
        picture: Image.Image | None,
        text: str,
        model_name: str | None,
        prompt: str | None,
        memory_name: str,
        own_memory: Memory | None,
    ):
        captioner = captioners.get(model_name, prompt)
        memory = choose_memory(memory_name, own_memory)
        require_photo(picture)
        # a sentence that cannot be explained leaves what is shown
        tokenize_sentence(captioner.network, text)
        yield make_writing_value([], picture)
        yield explain_for_lens(captioner, picture, text, memory=memory, memory_name=memory_name)

    connect_lens(lens, runs, photo, choice, captioners, continues=False)
    inputs = [runs, photo, sentence, *choice.inputs, *choice.memory.inputs]
    for listen in (button.click, sentence.submit):
        event = listen(explain_sentence, inputs, [lens], **PAGE_EVENT, **NEWEST_EVENT)
        event.failure(None, None, None, js=make_failure_script(lens), api_visibility="private")
    for listen in (photo.input, photo.clear):  # the maps are of the photo before
        listen(empty_lens(PROMPT), [runs], [lens], api_visibility="private")
