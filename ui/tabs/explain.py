"""The explain tab: a sentence of one's own, where its words look, and how likely they are."""

import gradio as gr
from PIL import Image

from model.explain.explanation import read_sentence
from ui import lens
from ui.actions import QUIET, TURNS, chosen, explain, failed, needed, one_line, wire
from ui.serving.captioners import Captioners
from ui.serving.requests import answers
from ui.uploads.photos import photo_input

SAY = (
    "Type what you see. For each of your words: where the model looks, how likely it finds the "
    "word, and what it would have said instead."
)


def build(captioners: Captioners, model: gr.Dropdown) -> tuple[gr.Image, gr.Textbox]:
    """Lay out the tab and wire it; returns its photo and its sentence."""
    with gr.Row(elem_classes="photo-and-lens"):
        with gr.Column(scale=2, min_width=280):
            photo = photo_input()
            sentence = gr.Textbox(
                label="Your sentence",
                placeholder="A dog runs on grass.",
                max_length=400,
                elem_id="explain-sentence",
            )
            button = gr.Button("Explain", variant="primary")
        with gr.Column(scale=3, min_width=320):
            shown = lens.lens(SAY, "explain-lens")

    @answers(captioners)
    def run(picture: Image.Image | None, text: str, name: str | None):
        captioner = chosen(captioners, name)
        needed(picture)
        with one_line():
            read_sentence(captioner, text)  # before what is shown gives way
        yield lens.writing([], picture)
        yield explain(captioner, picture, {"text": text}, continues=False)

    events = [wire(shown, photo, model, captioners, continues=False)]
    for listen in (button.click, sentence.submit):
        asked = listen(run, [photo, sentence, model], [shown], **QUIET, **TURNS)
        asked.failure(None, None, None, js=failed(shown), api_visibility="private")
        events.append(asked)
    # the maps are of the photo before
    for listen in (photo.input, photo.clear):
        listen(lambda: lens.empty(SAY), None, [shown], cancels=events, api_visibility="private")
    return photo, sentence
