"""What programs may ask the page for, by name: `/caption` and `/explain`; `/caption_many` is
with its tab."""

from typing import Any

import gradio as gr
from PIL import Image

from model.explain.methods import DEFAULT_METHOD, METHODS, check_method
from model.output.records import explanation_record
from ui.actions import MAX_BEAMS, TURNS, chosen, one_line
from ui.errors import complaint
from ui.serving.batching import BATCH, Together
from ui.serving.cancellation import still_wanted, visitor
from ui.serving.captioners import Captioners
from ui.serving.gpu import IS_ZERO_GPU
from ui.serving.requests import answers
from ui.uploads.photos import photo_input


def add_endpoints(captioners: Captioners) -> None:
    """Add the endpoints to the page that is being built."""
    together = Together()

    @answers(captioners, in_turn=IS_ZERO_GPU)
    def caption(photo: Image.Image | None, num_beams: float = 0, model: str = "") -> str:
        """Caption a photo.

        Args:
            photo: the photo, a file or its address.
            num_beams: captions weighed against each other, at most 10; 0 takes the model's own.
            model: the captioner; the first one offered if empty.
        """
        if photo is None:
            raise complaint("Give a photo.")
        captioner = chosen(captioners, model)
        with one_line():
            options = {"num_beams": int(num_beams)} if num_beams else {}
            if IS_ZERO_GPU:  # each request has a process of its own there
                return captioner.caption(photo, **options).text
            return together.caption(captioner, photo, visitor(), **options).text

    @answers(captioners)
    def explain(
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
            raise complaint("Give a photo.")
        captioner = chosen(captioners, model)
        with one_line():
            check_method(method)
            # encoded once for the caption and its maps, where the method allows
            image = photo if METHODS[method].needs_photo else captioner.encode([photo])[0]
            said = text.strip() or captioner.caption(image, on_step=still_wanted)
            explanation = captioner.explain(image, said, methods=[method], on_step=still_wanted)
            maps = explanation.heatmaps(method)
        about = {"text": explanation.text, "method": method, "checkpoint": captioner.name}
        return explanation_record(explanation, maps, about)

    with gr.Row(visible=False):
        photo = photo_input()
        num_beams = gr.Number(0, minimum=0, maximum=MAX_BEAMS, label="num_beams")
        text = gr.Textbox("", label="text")
        method, model = gr.Textbox(DEFAULT_METHOD, label="method"), gr.Textbox("", label="model")
        button = gr.Button()
        button.click(
            caption,
            [photo, num_beams, model],
            gr.Textbox(),
            api_name="caption",
            concurrency_limit=2 * BATCH,  # while one batch is written, the next one gathers
        )
        button.click(explain, [photo, text, method, model], gr.JSON(), api_name="explain", **TURNS)
