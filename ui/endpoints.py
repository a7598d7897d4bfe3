"""What programs may ask the page for, by name: `/caption`, `/explain`, `/caption_many` and, where
there is a translator, `/translate`."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from PIL import Image

from model.explain.methods import DEFAULT_METHOD, get_method
from model.output.records import make_explanation_record, make_translation_record
from ui.errors import user_error
from ui.serving.batching import BATCH_SIZE, CaptionBatcher
from ui.serving.cancellation import check_still_waiting, current_visitor
from ui.serving.captioners import Captioners
from ui.serving.executor import CORES
from ui.serving.gpu import IS_ZERO_GPU
from ui.serving.requests import MANY_EVENT, MANY_SECONDS, MODEL_EVENT, request_handler
from ui.serving.translation import get_translator, require_translator
from ui.tabs.inputs import MAX_BEAMS
from ui.tabs.many import NO_FILES
from ui.tabs.many_captions import caption_uploads, describe_skipped
from ui.uploads.files import Upload, count_photos, count_skipped
from ui.uploads.photos import create_files_input, create_photo_input

NO_PHOTO = "Give a photo."


def add_endpoints(captioners: Captioners) -> None:
    """Add the endpoints to the page that is being built."""
    with gr.Row(visible=False):
        _add_caption(captioners)
        _add_explain(captioners)
        _add_caption_many(captioners)
        if get_translator() is not None:
            _add_translate(captioners)


def _add_caption(captioners: Captioners) -> None:
    batcher = CaptionBatcher()

    @request_handler(captioners, on_cores=IS_ZERO_GPU)
    def caption_photo(
        photo: Image.Image | None, num_beams: float = 0, model: str = "", language: str = ""
    ) -> str:
        """Caption a photo.

        Args:
            photo: the photo, a file or its address.
            num_beams: captions weighed against each other, at most 10; 0 takes the model's own.
            model: the captioner; the first one offered if empty.
            language: into which the caption is translated, such as de; not at all if empty.
        """
        if photo is None:
            raise user_error(NO_PHOTO)
        translator = require_translator(language) if language else None
        captioner = captioners.get(model)
        options = {"num_beams": int(num_beams)} if num_beams else {}
        if IS_ZERO_GPU:  # each request has a process of its own there
            text = captioner.caption(photo, **options).text
            return translator.translate(text, language).text if translator else text
        text = batcher.caption(captioner, photo, current_visitor(), **options).text
        return CORES.run(translator.translate, text, language).text if translator else text

    inputs = [
        create_photo_input(),
        gr.Number(0, minimum=0, maximum=MAX_BEAMS, label="num_beams"),
        gr.Textbox("", label="model"),
        gr.Textbox("", label="language"),
    ]
    gr.Button().click(
        caption_photo,
        inputs,
        gr.Textbox(),
        api_name="caption",
        concurrency_limit=2 * BATCH_SIZE,  # while one batch is written, the next one gathers
    )


def _add_explain(captioners: Captioners) -> None:
    @request_handler(captioners)
    def explain_photo(
        photo: Image.Image | None, text: str = "", method: str = DEFAULT_METHOD, model: str = ""
    ) -> dict[str, Any]:
        """Where each word of a sentence about a photo looked, and how likely it is.

        Args:
            photo: the photo, a file or its address.
            text: the sentence; the model's own caption if empty.
            method: how the maps are made: attention, gradient, rollout, gradient-rollout or
                occlusion.
            model: the captioner; the first one offered if empty.
        """
        if photo is None:
            raise user_error(NO_PHOTO)
        captioner = captioners.get(model)
        get_method(method)  # a wrong one raises here, before the work
        encoded = captioner.encode([photo])[0]
        sentence = text.strip() or captioner.captions([encoded], on_step=check_still_waiting)[0][0]
        explanation = captioner.explain(
            encoded, sentence, methods=[method], on_step=check_still_waiting
        )
        about = {"text": explanation.text, "method": method, "checkpoint": captioner.name}
        return make_explanation_record(explanation, explanation.heatmaps(method), about)

    inputs = [
        create_photo_input(),
        gr.Textbox("", label="text"),
        gr.Textbox(DEFAULT_METHOD, label="method"),
        gr.Textbox("", label="model"),
    ]
    gr.Button().click(explain_photo, inputs, gr.JSON(), api_name="explain", **MODEL_EVENT)


def _add_caption_many(captioners: Captioners) -> None:
    @request_handler(captioners, seconds=MANY_SECONDS)
    def caption_files(
        files: list[Upload], num_beams: float = 0, model: str = "", language: str = ""
    ) -> Iterator[list[dict[str, Any]]]:
        """Caption many photos. Gives the list of all that are done after every few of them.

        A photo that was done is {"image": its name, "caption", "log_probability",
        "words": [{"text", "probability"}], "checkpoint"}; one that cannot be read is
        {"image", "error"}. With a language it also has "translation" and "language". Photos of the
        same name come with their folders in the zip. How many files in zips were skipped, because
        they are no photos, comes as a message.

        Args:
            files: photos and zips of photos; up to 500 photos.
            num_beams: captions weighed against each other; 0 takes the model's own.
            model: the captioner; the first one offered if empty.
            language: into which the captions are translated too, such as de; none if empty.
        """
        if not files:
            raise user_error(NO_FILES)
        captioner = captioners.get(model)
        count_photos(files)
        if skipped := count_skipped(files):
            gr.Info(describe_skipped(skipped))
        done = []
        for batch in caption_uploads(captioner, files, int(num_beams) or None, language):
            done = done + [record for record, _ in batch]
            yield done

    inputs = [
        create_files_input(),
        gr.Number(0, minimum=0, maximum=MAX_BEAMS, label="num_beams"),
        gr.Textbox("", label="model"),
        gr.Textbox("", label="language"),
    ]
    gr.Button().click(caption_files, inputs, gr.JSON(), api_name="caption_many", **MANY_EVENT)


def _add_translate(captioners: Captioners) -> None:
    @request_handler(captioners)
    def translate_sentence(text: str, language: str) -> dict[str, Any]:
        """Translate an English sentence about a photo, and say what each word looked at.

        Gives "translation", "words" with their probabilities, "source_words", and "alignment": for
        each word of the translation how much it looked at each word of the source.

        Args:
            text: the sentence.
            language: the code of the language, such as de.
        """
        return make_translation_record(require_translator(language).translate(text, language))

    inputs = [gr.Textbox("", label="text"), gr.Textbox("", label="language")]
    gr.Button().click(translate_sentence, inputs, gr.JSON(), api_name="translate", **MODEL_EVENT)
