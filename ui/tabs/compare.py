"""The tab "Compare models": what two captioners say of a photo, and where their words looked."""

import html
from collections.abc import Sequence

import gradio as gr
from PIL import Image

from model.images import fit
from model.output.comparison import Side, look, words_to_show
from model.output.figures import overlay
from ui.actions import QUIET, TURNS, chosen, needed, one_line
from ui.errors import complaint
from ui.serving.captioners import Captioners
from ui.serving.requests import answers
from ui.uploads.photos import data_url, examples, photo_input

SAY = "Choose a photo and a second model. What both say appears here, side by side."
SIDE = 320  # pixels of a map's longer side


def build(captioners: Captioners, model: gr.Dropdown) -> gr.Image:
    """Lay out the tab and wire it; returns its photo. `model` holds the first captioner's name."""
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            photo = photo_input()
            examples(photo)
            other = gr.Dropdown(
                captioners.names,
                value=next(iter(captioners.names[1:]), None),
                label="Beside the model above",
                info="One of the list, or USER/NAME of the hub.",
                allow_custom_value=True,
            )
            button = gr.Button("Compare", variant="primary")
        with gr.Column(scale=3, min_width=320):
            shown = gr.HTML(
                _say(SAY),
                js_on_load="element.setAttribute('aria-live', 'polite')",
                apply_default_css=False,
            )

    @answers(captioners)
    def run(picture: Image.Image | None, first: str | None, second: str | None):
        needed(picture)
        if not second or second == first:
            raise complaint("Choose another model than the one above, to compare them.")
        names = (first, second)
        # both at first, so that a name that cannot be had costs no caption
        for name in names:
            yield _say(f"Loading {name} …")
            chosen(captioners, name)
        sides = []
        for name in names:
            yield _say(f"{name} looks at the photo …")
            with one_line():
                sides.append(look(chosen(captioners, name), picture))
        yield side_by_side(picture, sides)

    asked = button.click(run, [photo, model, other], [shown], **QUIET, **TURNS)
    asked.failure(lambda: _say(SAY), None, [shown], api_visibility="private")
    for listen in (photo.input, photo.clear):  # what is shown is of the photo before
        listen(lambda: _say(SAY), None, [shown], cancels=[asked], api_visibility="private")
    return photo


def side_by_side(photo: Image.Image, sides: Sequence[Side]) -> str:
    """Two columns: each captioner's caption with its words' probabilities, then the maps of the
    words that both say, a row a word."""
    photo = fit(photo, SIDE)
    places, what = words_to_show(sides)
    cells = []
    for side in sides:
        words = "".join(
            f"<span>{html.escape(w.text)} <small>{w.probability:.0%}</small></span>"
            for w in side.explanation.words
        )
        cells.append(
            f"<section><h3>{html.escape(side.name)}</h3><p class='said'>{words}</p>"
            f"<p class='told'>{side.told()}</p></section>"
        )
    for row in zip(*places, strict=True):
        for side, i in zip(sides, row, strict=True):
            word = side.explanation.words[i]
            text = f"{html.escape(word.text)} {word.probability:.0%}"
            alt = html.escape(f"Where {side.name} looked for “{word.text}”", quote=True)
            cells.append(
                f'<figure><img src="{data_url(overlay(photo, side.maps[i]))}" alt="{alt}">'
                f"<figcaption>{text}</figcaption></figure>"
            )
    told = f"<p class='what'>Maps: {html.escape(what)}.</p>"
    return f"<div class='compare'>{''.join(cells[:2])}{told}{''.join(cells[2:])}</div>"


def _say(text: str) -> str:
    return f"<p class='compare-say'>{html.escape(text)}</p>"
