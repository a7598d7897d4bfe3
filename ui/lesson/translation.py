"""Step 8 of the lesson, where the page has a translator: the visitor's own caption, translated."""

from typing import Any, NamedTuple

import gradio as gr
from markupsafe import Markup

from model.errors import OptionError
from model.lesson.steps import choose_first_translation_step, take_translation_apart
from ui.lesson.cards import render_translation_card
from ui.serving.translation import name_languages, require_translator


class TranslationChoices(NamedTuple):
    """The components of the step."""

    language: gr.Dropdown
    word: gr.Dropdown
    layer: gr.Dropdown
    head: gr.Dropdown
    card: gr.HTML

    @property
    def inputs(self) -> list[gr.Dropdown]:
        """What `show_translation_step` takes."""
        return [self.language, self.word, self.layer, self.head]


def lay_out_translation() -> TranslationChoices:
    """The choices, hidden until there is a caption, and the card."""
    names = name_languages()
    languages = [(name, code) for code, name in names.items()]
    with gr.Row():
        hidden: dict[str, Any] = {"visible": False, "filterable": False, "min_width": 140}
        language = gr.Dropdown(
            languages, value=next(iter(names), None), label="Translated into", **hidden
        )
        word = gr.Dropdown(label="Word of the translation", **hidden)
        layer = gr.Dropdown(label="Layer of the translator", **hidden)
        head = gr.Dropdown(label="Head of the translator", **hidden)
    return TranslationChoices(language, word, layer, head, gr.HTML(apply_default_css=False))


def begin_translation_step(text: str, language: str) -> list[Any]:
    """The values of the choices and the card for a caption, which may be empty: at the word that
    looked at one word of it most."""
    hidden = gr.update(visible=False)
    if not text:
        return [*[hidden] * 4, ""]
    try:
        translation = require_translator(language).translate(text, language)
        if not translation.words:
            raise OptionError("the translator has nothing to say")
    except OptionError as error:
        message = Markup('<p class="lesson">Not translated: {}.</p>').format(error)
        return [gr.update(visible=True), *[hidden] * 3, message]
    config = translation.network.config
    choices = (
        [(word.text, i) for i, word in enumerate(translation.words)],
        list(range(config.num_decoder_layers)),
        list(range(config.num_heads)),
    )
    first_choice = choose_first_translation_step(translation)
    return [
        gr.update(visible=True),
        *(
            gr.update(choices=options, value=value, visible=True)
            for options, value in zip(choices, first_choice, strict=True)
        ),
        show_translation_step(text, language, *first_choice),
    ]


def show_translation_step(text: str, language: str, word: int, layer: int, head: int) -> Markup:
    """The card for one word of a caption's translation, one layer and one head."""
    translation = require_translator(language).translate(text, language)
    word = min(int(word), len(translation.words) - 1)  # it may be that of the language before
    layer, head = int(layer), int(head)  # 1.0 is a choice as good as 1
    taken = take_translation_apart(translation, word, layer, head)
    return render_translation_card(taken, translation, word, layer, head)
