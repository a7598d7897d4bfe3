"""The tab "Compare models": what two captioners say of a photo, and where their words looked."""

from collections.abc import Sequence
from typing import NamedTuple

import gradio as gr
from markupsafe import Markup
from PIL import Image

from model.images import fit_photo
from model.output.comparison import ComparedCaption, choose_words, explain_for_comparison
from model.output.overlays import draw_overlay
from ui.errors import user_error
from ui.serving.captioners import Captioners
from ui.serving.requests import NEWEST_EVENT, PAGE_EVENT, request_handler
from ui.serving.runs import Runs
from ui.tabs.choice import CaptionerChoice
from ui.templates import render
from ui.uploads.photos import create_examples, create_photo_input, require_photo, to_data_url

PROMPT = "Choose a photo and a second model. What both say appears here, side by side."
MAP_SIDE = 320  # pixels of a map's longer side


class CompareTab(NamedTuple):
    """The tab's components."""

    runs: gr.State
    photo: gr.Image
    other_model: gr.Dropdown
    button: gr.Button
    result: gr.HTML


def build(captioners: Captioners, choice: CaptionerChoice) -> CompareTab:
    """Lay out the tab and connect its events. The first captioner is that of `choice`."""
    tab = _lay_out(captioners)
    _connect(tab, captioners, choice)
    return tab


def _lay_out(captioners: Captioners) -> CompareTab:
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            photo = create_photo_input()
            create_examples(photo)
            other_model = gr.Dropdown(
                captioners.names,
                value=next(iter(captioners.names[1:]), None),
                label="Beside the model above",
                info="Or USER/NAME of the hub." if captioners.allows_hub else None,
                allow_custom_value=captioners.allows_hub,
            )
            button = gr.Button("Compare", variant="primary")
        with gr.Column(scale=3, min_width=320):
            result = gr.HTML(
                render_status(PROMPT),
                js_on_load="element.setAttribute('aria-live', 'polite')",
                apply_default_css=False,
            )
    return CompareTab(gr.State(Runs()), photo, other_model, button, result)


def _connect(tab: CompareTab, captioners: Captioners, choice: CaptionerChoice) -> None:
    runs, photo, other_model, button, result = tab

    @request_handler(captioners)
    def compare_captioners(
        runs: Runs,
        picture: Image.Image | None,
        first: str | None,
        prompt: str | None,
        second: str | None,
    ):
        require_photo(picture)
        if not second or second == first:
            raise user_error("Choose another model than the one above, to compare them.")
        asked = ((first, prompt), (second, None))  # the other one its own question
        # both at first, so that a name that cannot be had costs no caption
        for name, question in asked:
            yield render_status(f"Loading {name} …")
            captioners.get(name, question)
        compared = []
        for name, question in asked:
            yield render_status(f"{name} looks at the photo …")
            compared.append(explain_for_comparison(captioners.get(name, question), picture))
        yield render_comparison(picture, compared)

    def forget_result(runs: Runs) -> Markup:
        runs.begin()
        return render_status(PROMPT)

    inputs = [runs, photo, *choice.inputs, other_model]
    comparing = button.click(compare_captioners, inputs, [result], **PAGE_EVENT, **NEWEST_EVENT)
    comparing.failure(lambda: render_status(PROMPT), None, [result], api_visibility="private")
    for listen in (photo.input, photo.clear):  # what is shown is of the photo before
        listen(forget_result, [runs], [result], api_visibility="private")


def render_comparison(photo: Image.Image, compared: Sequence[ComparedCaption]) -> Markup:
    """Two columns: each captioner's caption with its words' probabilities, then the maps of the
    words that both say, a row a word."""
    photo = fit_photo(photo, MAP_SIDE)
    chosen_words = choose_words(compared)
    maps = [
        {
            "model": caption.name,
            "word": caption.explanation.words[index],
            "image": to_data_url(draw_overlay(photo, caption.maps[index])),
        }
        for row in zip(*chosen_words.indices, strict=True)
        for caption, index in zip(compared, row, strict=True)
    ]
    return render(
        "tabs/compare.html", captions=compared, maps=maps, maps_note=chosen_words.description
    )


def render_status(text: str) -> Markup:
    """What stands in the result's place."""
    return Markup('<p class="compare-status">{}</p>').format(text)
