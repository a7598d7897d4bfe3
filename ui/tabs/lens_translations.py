"""A lens's caption in another language, where the page has a translator."""

from typing import Any

import gradio as gr

from model.errors import OptionError
from ui.lens import make_answer_script
from ui.lens.translation_values import (
    TranslationValue,
    make_translation_value,
    make_untranslated_value,
)
from ui.serving.captioners import Captioners
from ui.serving.request_checks import read_event
from ui.serving.requests import MODEL_EVENT, PAGE_EVENT, request_handler
from ui.serving.translation import get_translator, require_translator


def translate_for_lens(values: dict[str, Any]) -> TranslationValue:
    """The translation of a caption's text; what cannot be translated is told in the lens."""
    text, language = str(values.get("text") or ""), str(values.get("language") or "")
    try:
        translation = require_translator(language).translate(text, language)
    except OptionError as error:
        return make_untranslated_value(text, language, f"Not translated: {error}.")
    return make_translation_value(translation, text)


def connect_translation(lens: gr.HTML, captioners: Captioners) -> None:
    """Answer what a lens asks to have translated."""
    if get_translator() is None:
        return

    @request_handler(captioners)
    def translate_caption(event: gr.EventData):
        return translate_for_lens(read_event(event))

    answer = gr.JSON(visible=False)
    # a caption that came meanwhile asks for its own translation at once
    translating = lens.translate(
        translate_caption, None, [answer], trigger_mode="multiple", **PAGE_EVENT, **MODEL_EVENT
    )
    for event, name in ((translating.success, "translated"), (translating.failure, "untranslated")):
        script = make_answer_script(lens, name)
        event(None, [answer], None, js=script, api_visibility="private")
