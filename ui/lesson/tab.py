"""The tab "How cross-attention works": one word's step, with the model's own numbers."""

import hashlib
import html
from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
from PIL import Image
from torch import Tensor

from model import Caption
from model.images import fit
from model.lesson.steps import caption_unseeing, opening, steps
from model.network.decoder import TextDecoder
from ui.actions import QUIET, TURNS, chosen
from ui.errors import complaint
from ui.lesson.pictures import place
from ui.lesson.sections import ELSEWHERE, INTRO, sections, unseeing
from ui.serving.captioners import Captioners
from ui.serving.requests import answers
from ui.uploads.photos import examples, photo_input

SIDE = 480  # pixels of the photo's longer side in the lesson's pictures
SAY = "Choose a photo, and the lesson begins."
NOT_OURS = (
    "The lesson takes our own decoder apart, and this model brings another one. Choose another "
    "model above; this one's maps are in the other tabs."
)
CARDS = 5  # that change with word, layer and head


@dataclass(frozen=True)
class Lesson:
    """What stays on the server for one visitor; every number is computed anew from it."""

    model: str
    photo: Image.Image
    of: str  # fingerprint of the photo as it came
    features: Tensor  # (S, image_width)
    caption: Caption


def fingerprint(photo: Image.Image) -> str:
    return hashlib.sha256(photo.tobytes()).hexdigest()


def begin(captioners: Captioners, photo: Image.Image | None, name: str | None) -> Iterator[list]:
    """Caption a photo and open the lesson at the word that owes most to it. Yields the lesson,
    the choices of word, layer and head, the card that is the same for all words, and `show`'s."""

    def closed(text: str, caption: str = "") -> list:
        return [None, *[gr.update(visible=False)] * 3, "", _told(text, caption), *[""] * CARDS]

    if photo is None:
        yield closed(SAY)
        return
    yield closed("Looking at the photo …")
    captioner = chosen(captioners, name)
    if not isinstance(captioner.decoder, TextDecoder):
        yield closed(NOT_OURS)
        return
    features = captioner.encode([photo])[0]
    caption = captioner.caption(features)
    if not caption.words:
        raise complaint("The model has nothing to say about this photo.")
    yield closed("Finding the word that owes most to the photo …", caption.text)
    lesson = Lesson(name, fit(photo, SIDE), fingerprint(photo), features.cpu(), caption)
    first = opening(captioner.explain(features, caption))
    config = captioner.config
    choices = (
        [(word.text, i) for i, word in enumerate(caption.words)],
        list(range(config.num_layers)),
        list(range(config.num_heads)),
    )
    yield [
        lesson,
        *(
            gr.update(choices=options, value=value, visible=True)
            for options, value in zip(choices, first, strict=True)
        ),
        unseeing(caption.text, caption_unseeing(captioner), config.num_layers),
        *show(captioners, lesson, *first),
    ]


def show(captioners: Captioners, lesson: Lesson | None, word: int, layer: int, head: int) -> list:
    """What is said of the choice, and the cards of the steps."""
    if lesson is None or None in (word, layer, head):
        return [gr.skip()] * (1 + CARDS)  # chosen while the next photo's lesson begins
    captioner, caption = chosen(captioners, lesson.model), lesson.caption
    features = lesson.features.to(captioner.device)
    step = steps(captioner, features, caption, word, layer, head)
    patches = step.weights[captioner.encoder.num_prefix_tokens :]
    row, col = place(patches.reshape(captioner.encoder.grid_size))
    looked = (
        f"For “{caption.words[word].text}”, head {head} of layer {layer} looked most at "
        f"row {row}, column {col}."
    )
    cards = sections(lesson.photo, captioner, caption, step, word, layer, head)
    return [_told(looked, caption.text), *cards]


def build(captioners: Captioners, model: gr.Dropdown) -> gr.Image:
    """Lay out the tab and wire it; returns its photo. `model` holds the captioner's name."""
    gr.HTML(INTRO, apply_default_css=False)
    lesson = gr.State(None)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            photo = photo_input()
        with gr.Column(scale=3, min_width=280):
            # what it shows is replaced as a whole, so the element that stays is the live region
            told = gr.HTML(
                _told(SAY),
                js_on_load="element.setAttribute('aria-live', 'polite')",
                apply_default_css=False,
            )
            examples(photo)
    with gr.Row(elem_classes="lesson-choices"):
        word = gr.Radio(label="Word", visible=False, scale=5, min_width=320)
        layer = gr.Dropdown(
            label="Layer, from 0", visible=False, filterable=False, scale=1, min_width=140
        )
        head = gr.Dropdown(
            label="Head, from 0", visible=False, filterable=False, scale=1, min_width=140
        )
    with gr.Column(elem_classes="lesson-cards"):
        cards = [gr.HTML(apply_default_css=False) for _ in range(CARDS)]
        blind = gr.HTML(apply_default_css=False)
        gr.HTML(ELSEWHERE, apply_default_css=False)

    @answers(captioners)
    def on_photo(current: Lesson | None, picture: Image.Image | None, name: str | None):
        # the browser also tells of a photo that is put back into a tab that has it
        known = current and picture and (current.model, current.of) == (name, fingerprint(picture))
        if known:
            yield [gr.skip()] * len(opened)
        else:
            yield from begin(captioners, picture, name)

    @answers(captioners)
    def on_choice(current: Lesson | None, word: int, layer: int, head: int):
        return show(captioners, current, word, layer, head)

    # what is asked for in the meantime has its turn afterwards
    quiet = QUIET | TURNS | {"trigger_mode": "always_last"}
    opened = [lesson, word, layer, head, blind, told, *cards]
    # `change`, not `input`: an example or the page itself may bring the photo
    begun = photo.change(on_photo, [lesson, photo, model], opened, **quiet)
    # a photo that cannot be opened is not shown
    begun.failure(lambda: None, None, [photo], api_visibility="private")
    model.change(on_photo, [lesson, photo, model], opened, **quiet)
    gr.on(
        [choice.input for choice in (word, layer, head)],
        on_choice,
        [lesson, word, layer, head],
        [told, *cards],
        **quiet,
    )
    return photo


def _told(text: str, caption: str = "") -> str:
    """The line above the choices, under the caption where there is one."""
    said = f'<p class="lesson-caption">{html.escape(caption)}</p>' if caption else ""
    return f'<div class="lesson">{said}<p>{html.escape(text)}</p></div>'
