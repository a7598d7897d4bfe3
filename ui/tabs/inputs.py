"""Inputs that several tabs have."""

import gradio as gr

from ui.serving.captioners import Captioners

MAX_BEAMS = 10


def create_beams_slider(captioners: Captioners) -> gr.Slider:
    """The width of the search, at first that of the captioner that the page begins with."""
    return gr.Slider(
        1,
        MAX_BEAMS,
        captioners.get().options().num_beams,
        step=1,
        label="Beams",
        info="How many captions are weighed against each other; 1 is greedy.",
    )
