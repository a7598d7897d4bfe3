"""CaptionLens as a page: drop a photo, read its caption, see where each word looked.

`python app.py` opens it with the shipped checkpoint; no network is needed. Set
CAPTIONLENS_CHECKPOINT to a folder or a hub id to open it with another captioner.
"""

import base64
import html
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from model import Captioner, CheckpointError, Explanation, load
from model.attention_maps import image_share
from model.caption import CaptionWord
from model.captioner import SHIPPED, default_device
from model.explanation import same_for_all
from model.figures import overlay
from model.images import load_image

CHECKPOINT = os.environ.get("CAPTIONLENS_CHECKPOINT") or SHIPPED
EXAMPLES = sorted((Path(__file__).parent / "assets" / "examples").glob("*.jpg"))
SHOWN_SIDE = 768  # pixels: photos are brought to this for display and kept no larger

ABOUT = """
# CaptionLens
A caption, and where each word looked.
"""
KNOWS = """
The shipped model learned from 6,000 photos of people and dogs, mostly outdoors (Flickr8k). Of
other things it knows little, and names what is nearest.
"""
HELP = "Choose a word to see where the model looked when it wrote it."
CSS = """
.gradio-container { width: 100%; max-width: 1120px !important; margin: 0 auto !important }
#words .textfield { font-size: 1.5rem; line-height: 1.5 }
#words .text-container, #words .token { cursor: pointer }
#words .token:focus { outline: 2px solid currentColor }
#fact .html-container { padding: 0 }
/* on a phone the photo box comes first until there is a caption, then the caption does */
@media (max-width: 700px) {
  html { overflow-anchor: none }
  #page:has(#words .token) { flex-direction: column-reverse }
}
"""
TO_THE_TOP = "(...inputs) => { scrollTo({ top: 0 }); return inputs }"  # where the caption appears


def read_upload(payload) -> Image.Image | None:
    """A visitor's photo through our one door, so that trouble with it is one clear line."""
    if payload is None:
        return None
    try:
        if payload.url and payload.url.startswith("data:"):
            return load_image(base64.b64decode(payload.url.partition(",")[2]))
        return load_image(payload.path)
    except ValueError as error:  # ImageError, or base64 that is none
        # the visitor knows the photo by its own name, not by that of our copy
        name = payload.orig_name or "This photo"
        problem = str(error).removeprefix(f"{payload.path}: ").removeprefix("image: ")
        # the toast shows HTML, and the name is the visitor's own
        raise gr.Error(html.escape(f"{name}: {problem}"), print_exception=False) from None


@dataclass(frozen=True)
class Reading:
    """What stays on the server for one visitor: a small photo and a small map for each word."""

    photo: Image.Image
    words: list[CaptionWord]
    maps: list[np.ndarray]
    shares: list[float]
    needless: list[str | None]
    same_for_all: str | None

    @classmethod
    def of(cls, photo: Image.Image, explanation: Explanation) -> "Reading":
        words, maps = explanation.words, explanation.heatmaps()
        return cls(
            photo=ImageOps.contain(photo, (SHOWN_SIDE, SHOWN_SIDE)),
            words=words,
            maps=maps,
            needless=[explanation.needless(i) for i in range(len(words))],
            same_for_all=same_for_all(maps),
            shares=[image_share(explanation.attention, (w.start, w.stop)) for w in words],
        )

    def shown(self, word: int) -> tuple[Image.Image, str]:
        """The photo with one word's map, and what to say of the word."""
        chosen = self.words[word]
        fact = (
            f"“{chosen.text}”: the model gave this word {percent(chosen.probability)}. "
            f"{percent(self.shares[word])} of its attention fell on the photo. "
            "Bright: what made the word likelier."
        )
        for doubt in (self.needless[word], self.same_for_all):
            fact += f" {doubt}" if doubt else ""
        # a word may hold any character; it is text and must not become markup
        return overlay(self.photo, self.maps[word]), html.escape(fact)


def percent(share: float) -> str:
    """A share as people read it; what is small is not nothing."""
    return f"{share:.0%}" if share >= 0.005 else "less than 1%"


def chips(words: list[CaptionWord]) -> list[tuple[str, float]]:
    """Words for HighlightedText, shaded by probability."""
    return [(word.text, round(word.probability, 4)) for word in words]


def caption_photo(photo: Image.Image | None, num_beams: int) -> Iterator[tuple]:
    """Write a caption word by word, then show the map that differs most from the others."""
    if photo is None:
        raise gr.Error("Choose a photo first.", print_exception=False)
    # Without the last photo's maps: its words must not be explained with them, nor the new ones
    yield [], None, "Looking at the photo …", None
    nothing = gr.skip()
    features = captioner.encode([photo])[0]
    for caption in captioner.stream(features, num_beams=int(num_beams)):
        yield chips(caption.words), nothing, nothing, nothing
    if not caption.words:
        raise gr.Error("The model has nothing to say about this photo.", print_exception=False)
    reading = Reading.of(photo, captioner.explain(features, caption))
    maps = np.stack(reading.maps)
    most_its_own = int(np.abs(maps - maps.mean(axis=0)).sum(axis=(1, 2)).argmax())
    yield chips(caption.words), *reading.shown(most_its_own), reading


def caption_new_photo(photo: Image.Image | None, num_beams: int) -> Iterator[tuple]:
    """As `caption_photo`; that a photo was taken away comes here too, and is no mistake."""
    if photo is not None:
        yield from caption_photo(photo, num_beams)


def caption_text(photo: Image.Image | None, num_beams: int) -> str:
    """A photo's caption, for scripts."""
    if photo is None:
        raise gr.Error("Give a photo.", print_exception=False)
    return captioner.caption(photo, num_beams=int(num_beams)).text


def choose_word(reading: Reading | None, event: gr.SelectData) -> tuple:
    """Show the map of the word that was chosen."""
    if reading is None or not 0 <= event.index < len(reading.words):
        return gr.skip(), gr.skip()  # the caption is still being written
    return reading.shown(event.index)


def build() -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="CaptionLens", delete_cache=(3600, 3600)) as page:
        gr.Markdown(ABOUT)
        reading = gr.State(None)
        with gr.Row(elem_id="page"):
            with gr.Column(scale=2, min_width=280):
                photo = gr.Image(
                    label="Photo", sources=["upload", "clipboard", "webcam"], height=320
                )
                # gr.Image's own answers a broken photo with "Error" and a trace in the log
                photo.preprocess = read_upload
                button = gr.Button("Caption", variant="primary")
                with gr.Accordion("Options", open=False):
                    num_beams = gr.Slider(
                        1,
                        10,
                        captioner.options().num_beams,
                        step=1,
                        label="Beams",
                        info="How many captions are weighed against each other; 1 is greedy.",
                    )
                # Not gr.Examples: that makes the photo component anew, with its own preprocess
                examples = gr.Dataset(
                    label="Example photos",
                    components=[photo],
                    samples=[[str(path)] for path in EXAMPLES],
                    type="values",
                )
                if CHECKPOINT == SHIPPED:
                    gr.Markdown(KNOWS)
            with gr.Column(scale=3, min_width=320):
                words = gr.HighlightedText(
                    label="Caption: stronger colour, surer word",
                    show_legend=False,
                    elem_id="words",
                )
                fact = gr.HTML(HELP, elem_id="fact")
                seen = gr.Image(
                    label="Where the chosen word looked",
                    show_label=False,
                    interactive=False,
                    elem_id="map",
                    buttons=["download", "fullscreen"],
                )
        inputs, outputs = [photo, num_beams], [words, seen, fact, reading]
        # A toast says what went wrong; the usual progress would also stamp "Error" on each output.
        # A photo that comes while a caption is being written has its turn afterwards.
        quiet = dict(
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
            js=TO_THE_TOP,
        )
        pressed = button.click(caption_photo, inputs, outputs, **quiet)
        changed = photo.input(caption_new_photo, inputs, outputs, **quiet)
        picked = examples.click(
            lambda sample: sample[0], [examples], [photo], api_visibility="private"
        ).then(caption_photo, inputs, outputs, **quiet)
        for event in (pressed, changed, picked):  # a photo that cannot be opened is not shown
            event.failure(lambda: None, None, [photo], api_visibility="private")
        photo.clear(lambda: ([], None, HELP, None), None, outputs, api_visibility="private")
        gr.Button(visible=False).click(
            caption_text, inputs, gr.Textbox(label="Caption", visible=False), api_name="caption"
        )
        words.select(
            choose_word, [reading], [seen, fact], show_progress="hidden", api_visibility="private"
        )
    return page


try:
    captioner: Captioner = load(CHECKPOINT).to(default_device())
except CheckpointError as error:
    sys.exit(f"error: {error}")
demo = build().queue(max_size=32)

if __name__ == "__main__":
    demo.launch(
        theme=gr.themes.Default(primary_hue="orange", font=["system-ui", "sans-serif"]),
        css=CSS,
        max_file_size="20mb",
    )
