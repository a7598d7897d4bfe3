"""The tab "How cross-attention works": one word's step, with the model's own numbers."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import Dependency
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from model import Caption, Captioner
from model.errors import ImageError
from model.images import fit_photo
from model.lesson.steps import (
    caption_blindly,
    choose_first_step,
    take_retrieval_apart,
    take_step_apart,
)
from model.network.decoder import TextDecoder
from model.wording import NOTHING_TO_SAY, SELF_ATTENTION_MAPS
from ui.lesson.cards import (
    CARD_COUNT,
    render_blind_card,
    render_elsewhere,
    render_introduction,
    render_message_card,
    render_retrieval_card,
    render_step_cards,
)
from ui.lesson.pictures import find_largest
from ui.lesson.translation import (
    TranslationChoices,
    begin_translation_step,
    lay_out_translation,
    show_translation_step,
)
from ui.serving.captioners import Captioners
from ui.serving.requests import MODEL_EVENT, PAGE_EVENT, request_handler
from ui.serving.translation import get_translator
from ui.uploads.photos import CLEAR_SCRIPT, create_examples, create_photo_input

PICTURE_SIDE = 480  # pixels of the photo's longer side in the lesson's pictures
MAX_SENTENCES = 5  # that step 7 looks at
SENTENCES = "A brown dog runs through the grass.\nTwo children play in the water."
NO_SENTENCES = "Write a sentence above, and the word may look at it too."
NOT_LEARNED = (
    "This model has not learned to look at sentences beside the photo. Choose one that has: "
    "training.train_memory teaches it."
)
PROMPT = "Choose a photo, and the lesson begins."
OTHER_DECODER = (
    "The lesson takes our own decoder apart, and this model brings another one. Choose another "
    "model above; this one's maps are in the other tabs."
)


@dataclass(frozen=True)
class Lesson:
    """What stays on the server for one visitor; every number is computed anew from it."""

    model: str
    photo: Image.Image
    photo_hash: str  # of the photo as it came
    image_features: Tensor  # (S, image_width)
    caption: Caption


def hash_photo(photo: Image.Image) -> str:
    return hashlib.sha256(photo.tobytes()).hexdigest()


def start_lesson(
    captioners: Captioners, photo: Image.Image | None, name: str | None, sentences: str = SENTENCES
) -> Iterator[list[Any]]:
    """Caption a photo and open the lesson at the word that owes most to it.

    sentences: what step 7 looks at too, one a line.

    Yields the values of `LessonTab.lesson_outputs`.
    """

    def show_status(text: str, caption: str = "") -> list[Any]:
        hidden = gr.update(visible=False)
        cards = [""] * (CARD_COUNT + 1)
        return [None, *[hidden] * 4, "", render_status(text, caption), *cards]

    if photo is None:
        yield show_status(PROMPT)
        return
    yield show_status("Looking at the photo …")
    captioner = captioners.get(name)
    if not isinstance(captioner.network.decoder, TextDecoder):
        own = captioner.network.decoder.has_cross_attention
        yield show_status(OTHER_DECODER if own else f"{OTHER_DECODER} {SELF_ATTENTION_MAPS}")
        return
    encoded = captioner.encode([photo])[0]
    caption = captioner.caption(encoded)
    if not caption.words:
        raise ImageError(NOTHING_TO_SAY)
    yield show_status("Finding the word that owes most to the photo …", caption.text)
    features = encoded.image_features.cpu()
    lesson = Lesson(name, fit_photo(photo, PICTURE_SIDE), hash_photo(photo), features, caption)
    first_choice = choose_first_step(captioner.explain(encoded, caption))
    config = captioner.network.config
    choices = (
        [(word.text, i) for i, word in enumerate(caption.words)],
        list(range(config.num_layers)),
        list(range(config.num_heads)),
    )
    yield [
        lesson,
        *(
            gr.update(choices=options, value=value, visible=True)
            for options, value in zip(choices, first_choice, strict=True)
        ),
        gr.update(visible=captioner.network.memory_encoder is not None),
        render_blind_card(caption.text, caption_blindly(captioner.network), config.num_layers),
        *show_step(captioners, lesson, *first_choice, sentences),
    ]


def show_step(
    captioners: Captioners, lesson: Lesson | None, word: int, layer: int, head: int, sentences: str
) -> list[Any]:
    """The line about the chosen word, layer and head, and the cards of its steps."""
    if lesson is None or None in (word, layer, head):
        return [gr.skip()] * (2 + CARD_COUNT)  # chosen while the next photo's lesson begins
    word, layer, head = int(word), int(layer), int(head)  # 1.0 is a choice as good as 1
    captioner, caption = captioners.get(lesson.model), lesson.caption
    features = lesson.image_features.to(captioner.device)
    step = take_step_apart(captioner.network, features, caption, word, layer, head)
    encoder = captioner.network.encoder
    row, col = find_largest(step.weights[encoder.num_prefix_tokens :].reshape(encoder.grid_size))
    text = (
        f"For “{caption.words[word].text}”, head {head} of layer {layer} looked most at "
        f"row {row}, column {col}."
    )
    cards = render_step_cards(lesson.photo, captioner, caption, step, word, layer, head)
    retrieval = show_retrieval(captioner, features, sentences, caption, word, layer, head)
    return [render_status(text, caption.text), *cards, retrieval]


def show_retrieval(
    captioner: Captioner,
    image_features: Tensor,
    sentences: str,
    caption: Caption,
    word: int,
    layer: int,
    head: int,
) -> Markup:
    """The card of step 7: the step with sentences (one a line) to look at beside the photo."""
    if captioner.network.memory_encoder is None:
        return render_message_card(NOT_LEARNED)
    lines = [line for line in sentences.splitlines() if line.strip()][:MAX_SENTENCES]
    retrieval = take_retrieval_apart(
        captioner.network, image_features, lines, caption, word, layer, head
    )
    if not retrieval.sentences:
        return render_message_card(NO_SENTENCES)
    return render_retrieval_card(retrieval, captioner, caption.words[word].text, layer, head)


def render_status(text: str, caption: str = "") -> Markup:
    """The line above the choices, under the caption where there is one."""
    caption_line = Markup('<p class="lesson-caption">{}</p>').format(caption) if caption else ""
    return Markup('<div class="lesson">{}<p>{}</p></div>').format(caption_line, text)


class LessonTab(NamedTuple):
    """The tab's components."""

    lesson: gr.State
    photo: gr.Image
    status: gr.HTML
    word: gr.Radio
    layer: gr.Dropdown
    head: gr.Dropdown
    cards: list[gr.HTML]
    blind_card: gr.HTML
    sentences: gr.Textbox
    retrieval_card: gr.HTML
    translation: TranslationChoices

    @property
    def step_outputs(self) -> list[Any]:
        """What changes with word, layer, head and sentences."""
        return [self.status, *self.cards, self.retrieval_card]

    @property
    def lesson_outputs(self) -> list[Any]:
        """What changes with the photo."""
        choices = [self.word, self.layer, self.head]
        return [self.lesson, *choices, self.sentences, self.blind_card, *self.step_outputs]


def build(captioners: Captioners, model: gr.Dropdown) -> LessonTab:
    """Lay out the tab and connect its events. `model` holds the captioner's name."""
    tab = _lay_out()
    _connect(tab, captioners, model)
    return tab


def _lay_out() -> LessonTab:
    gr.HTML(render_introduction(), apply_default_css=False)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            photo = create_photo_input()
        with gr.Column(scale=3, min_width=280):
            # what it shows is replaced as a whole, so the element that stays is the live region
            status = gr.HTML(
                render_status(PROMPT),
                js_on_load="element.setAttribute('aria-live', 'polite')",
                apply_default_css=False,
            )
            create_examples(photo)
    with gr.Row(elem_classes="lesson-choices"):
        word = gr.Radio(label="Word", visible=False, scale=5, min_width=320)
        layer = gr.Dropdown(
            label="Layer, from 0", visible=False, filterable=False, scale=1, min_width=140
        )
        head = gr.Dropdown(
            label="Head, from 0", visible=False, filterable=False, scale=1, min_width=140
        )
    with gr.Column(elem_classes="lesson-cards"):
        cards = [gr.HTML(apply_default_css=False) for _ in range(CARD_COUNT)]
        blind_card = gr.HTML(apply_default_css=False)
        sentences = gr.Textbox(
            SENTENCES,
            label="Sentences to look at beside the photo, one a line",
            lines=2,
            max_lines=MAX_SENTENCES,
            max_length=500,
            visible=False,
        )
        retrieval_card = gr.HTML(apply_default_css=False)
        translation = lay_out_translation()
        has_translation = get_translator() is not None
        gr.HTML(render_elsewhere(has_translation), apply_default_css=False)
    choices, sides = (word, layer, head), (cards, blind_card, sentences, retrieval_card)
    return LessonTab(gr.State(None), photo, status, *choices, *sides, translation)


def _connect(tab: LessonTab, captioners: Captioners, model: gr.Dropdown) -> None:
    @request_handler(captioners)
    def start_if_new(
        lesson: Lesson | None, picture: Image.Image | None, name: str | None, sentences: str
    ):
        # the browser also tells of a photo that is put back into a tab that has it
        is_shown = (
            lesson
            and picture
            and (lesson.model, lesson.photo_hash)
            == (
                name,
                hash_photo(picture),
            )
        )
        if is_shown:
            yield [gr.skip()] * len(tab.lesson_outputs)
        else:
            yield from start_lesson(captioners, picture, name, sentences)

    @request_handler(captioners)
    def choose_step(lesson: Lesson | None, word: int, layer: int, head: int, sentences: str):
        return show_step(captioners, lesson, word, layer, head, sentences)

    # what is asked for in the meantime has its turn afterwards
    settings = PAGE_EVENT | MODEL_EVENT | {"trigger_mode": "always_last"}
    inputs = [tab.lesson, tab.photo, model, tab.sentences]
    # `change`, not `input`: an example or the page itself may bring the photo
    starting = tab.photo.change(start_if_new, inputs, tab.lesson_outputs, **settings)
    starting.failure(None, None, [tab.photo], js=CLEAR_SCRIPT, api_visibility="private")
    restarting = model.change(start_if_new, inputs, tab.lesson_outputs, **settings)
    if get_translator() is not None:
        _connect_translation(tab, captioners, [starting, restarting])
    gr.on(
        [choice.input for choice in (tab.word, tab.layer, tab.head, tab.sentences)],
        choose_step,
        [tab.lesson, tab.word, tab.layer, tab.head, tab.sentences],
        tab.step_outputs,
        **settings,
    )


def _connect_translation(tab: LessonTab, captioners: Captioners, lessons: list[Dependency]) -> None:
    """Translate the caption of each lesson that begins, and show the step that is chosen."""

    @request_handler(captioners)
    def begin_step(lesson: Lesson | None, language: str):
        return begin_translation_step(lesson.caption.text if lesson else "", language)

    @request_handler(captioners)
    def choose_translation_step(lesson: Lesson | None, *choice: Any):
        if lesson is None or None in choice:  # chosen while the next photo's lesson begins
            return gr.skip()
        return show_translation_step(lesson.caption.text, *choice)

    settings = PAGE_EVENT | MODEL_EVENT | {"trigger_mode": "always_last"}
    choices = tab.translation
    for listen in (*(lesson.then for lesson in lessons), choices.language.input):
        inputs, outputs = [tab.lesson, choices.language], [*choices.inputs, choices.card]
        listen(begin_step, inputs, outputs, **settings)
    gr.on(
        [choice.input for choice in (choices.word, choices.layer, choices.head)],
        choose_translation_step,
        [tab.lesson, *choices.inputs],
        [choices.card],
        **settings,
    )
