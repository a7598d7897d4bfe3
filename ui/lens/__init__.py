"""The lens: the part of the page that shows a caption and where each of its words looked.

It is one `gr.HTML` whose value is what `empty`, `writing` and `reading` give; `lens.js` draws it.
Its events: "explain" (a text, with a method, layer and head), "go_on" (a beginning that the
model completes), "save" (a figure, or the data).
"""

import base64
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image
from torch import Tensor

from model import Caption, Captioner, Explanation
from model.explain.explanation import same_for_all
from model.explain.methods import DEFAULT_METHOD, METHODS, image_share
from model.search.caption import CaptionWord
from ui.serving.cancellation import still_wanted
from ui.uploads.photos import data_url, shown

FOLDER = Path(__file__).parent
METHOD_TEXTS = {
    "attention": "Bright: what the word looked at, whether it mattered or not.",
    "gradient": "Bright: what the word looked at and what made it likelier.",
    "rollout": "As attention, followed through the encoder to the patches themselves.",
    "gradient-rollout": "As gradient, followed through the encoder to the patches themselves.",
    "occlusion": "Bright: where hiding the photo makes the word less likely. Takes seconds.",
}


def lens(say: str, elem_id: str) -> gr.HTML:
    """The component; `say` is what it shows before there is a caption."""
    return gr.HTML(
        empty(say),
        html_template=(FOLDER / "lens.html").read_text(),
        js_on_load=(FOLDER / "lens.js").read_text(),
        apply_default_css=False,
        elem_id=elem_id,
    )


def empty(say: str) -> dict[str, Any]:
    """Nothing yet, and what to do about it."""
    return {"state": "empty", "say": say}


def writing(words: Sequence[CaptionWord], photo: Image.Image | None = None) -> dict[str, Any]:
    """A caption that is still being written; the photo comes with the first of its words."""
    value: dict[str, Any] = {
        "state": "writing",
        "words": [{"text": w.text, "probability": w.probability} for w in words],
    }
    return value | ({"photo": data_url(shown(photo))} if photo else {})


def reading(
    captioner: Captioner,
    photo: Image.Image,
    caption: Caption | str,
    *,
    features: Tensor | None = None,
    method: str = DEFAULT_METHOD,
    layer: int | None = None,
    head: int | None = None,
    continues: bool = False,
) -> dict[str, Any]:
    """A caption, or any sentence, with its maps: 8 bits a patch, each map's own peak at 255.

    The page has the photo since `writing`.

    features: of the photo, where they are there already.
    continues: whether a runner-up may be chosen, and the caption goes on from it.

    Raises ValueError as `Captioner.explain` and `heatmap` do.
    """
    if features is None:
        features = captioner.encode([photo])[0]
    image = photo if METHODS[method].needs_photo else features
    explanation = captioner.explain(image, caption, methods=[method], on_step=still_wanted)
    maps = np.stack(explanation.heatmaps(method, layer=layer, head=head))
    peaks = maps.max(axis=(1, 2))
    scaled = np.uint8(np.rint(255 * maps / np.maximum(peaks, 1e-12)[:, None, None]))
    instead = captioner.alternatives(features, caption)
    layers, heads = (
        explanation.attention.weights.shape[:2] if METHODS[method].has_layers else (0, 0)
    )
    return {
        "state": "done",
        "id": time.monotonic(),  # two answers that are alike are still two
        "model": captioner.name,
        "words": [
            {
                "text": word.text,
                "probability": word.probability,
                "fact": _fact(explanation, i),
                "instead": [other._asdict() for other in instead[i]],
            }
            for i, word in enumerate(explanation.words)
        ],
        "maps": {
            "rows": maps.shape[1],
            "cols": maps.shape[2],
            "peaks": peaks.tolist(),
            "data": base64.b64encode(scaled.tobytes()).decode(),
        },
        "whole": f"All of it: {likely(explanation)} (log-probability "
        f"{explanation.log_probability:.1f}).",
        "doubt": same_for_all(list(maps)) or "",
        "continues": continues,
        "settings": {
            "methods": METHOD_TEXTS,
            "method": method,
            "layers": layers,
            "layer": layer,
            "heads": heads,
            "head": head,
        },
        # the word that owes the photo most is the one to begin with
        "choose": int(np.argmax(explanation.gains)),
    }


def likely(said: Caption | Explanation) -> str:
    """How likely a sentence is, so that long and short ones compare: the mean over its tokens."""
    # the end counts, but not in a caption that was cut
    tokens = len(said.tokens if isinstance(said, Caption) else said.attention.weights[0, 0])
    return f"{math.exp(said.log_probability / tokens):.0%} a token"


def _fact(explanation: Explanation, word: int) -> str:
    """What to say of a word, in a sentence."""
    chosen = explanation.words[word]
    share = image_share(explanation.attention, (chosen.start, chosen.stop))
    times = math.exp(min(explanation.gains[word], math.log(1000)))
    said = explanation.needless(word) or f"The photo makes it {_times(times)} likelier."
    return f"{said} {share:.0%} of its attention fell on the photo."


def _times(times: float) -> str:
    """A factor as people read it."""
    if times >= 999:
        return "a thousand times"
    return f"{times:.0f} times" if times >= 9.95 else f"{times:.1f} times"
