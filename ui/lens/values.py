"""What a lens displays: plain data for `lens.js`, made of what a model gave."""

import base64
import math
import time
from collections.abc import Sequence
from typing import Literal, TypedDict

import numpy as np
from PIL import Image

from model import Caption, Captioner, Explanation
from model.explain.alternatives import Alternative
from model.explain.explanation import describe_alike_maps
from model.explain.methods import METHODS, compute_image_share
from model.search.caption import CaptionWord
from model.wording import SELF_ATTENTION_MAPS, describe_likelihood
from ui.lens.memory_values import MemoryValue, make_memory_value
from ui.lens.translation_values import TranslationValue
from ui.uploads.photos import fit_for_display, to_data_url


class EmptyValue(TypedDict):
    """Nothing yet, and what to do about it."""

    state: Literal["empty"]
    prompt: str


class WrittenWord(TypedDict):
    text: str
    probability: float


class _Writing(TypedDict):
    state: Literal["writing"]
    words: list[WrittenWord]


class WritingValue(_Writing, total=False):
    """A caption that is still being written; the photo comes with the first value."""

    photo: str  # a data URL


class ExplainedWord(WrittenWord):
    fact: str  # a sentence: how much the word needs the photo
    earlier: list[float]  # how much it looked at each word before it; [] where that is not known
    alternatives: list[WrittenWord]  # best first; an empty text stands for the caption's end


class MapsValue(TypedDict):
    """The maps of all words, 8 bits a patch, each map's own peak at 255."""

    rows: int
    cols: int
    peaks: list[float]  # one a word
    data: str  # base64 of words × rows × cols bytes


class HeadMapsValue(TypedDict):
    """Each head's own map of every word, 8 bits a patch, a word's highest peak at 255."""

    key: str  # the lens's own, by which it knows whose maps they are
    layers: int
    heads: int
    rows: int
    cols: int
    data: str  # base64 of words × layers × heads × rows × cols bytes


class SettingsValue(TypedDict):
    """How the maps were made, and what else there is to choose from."""

    methods: dict[str, str]  # each with its description
    method: str
    layers: int  # how many; 0 if the method has none
    layer: int | None  # None: all of them
    heads: int
    head: int | None


class RankedCaption(TypedDict):
    text: str
    likelihood: str


class _Explained(TypedDict):
    state: Literal["done"]
    id: float  # two answers that are alike are still two
    model: str
    words: list[ExplainedWord]
    maps: MapsValue
    summary: str
    doubt: str
    continues: bool  # whether a caption can go on from an alternative
    settings: SettingsValue
    first_word: int  # the index of the one to begin with


class ExplainedValue(_Explained, total=False):
    """A caption, or any sentence, with its maps. The page has the photo since `WritingValue`.

    Without `captions` and `hint` the lens keeps those that it has.
    """

    photo: str  # a data URL, where the page opens with this value
    captions: list[RankedCaption]  # of the photo, best first
    hint: str
    prompt: str  # what the captioner was asked, where it takes a prompt
    about_maps: str  # a sentence, where they are not of cross-attention
    memory: MemoryValue  # where the words could look at one
    # the lens adds these, so that a reload brings them back
    language: str  # that the visitor chose; empty: none
    translation: TranslationValue


def make_empty_value(prompt: str) -> EmptyValue:
    """A lens without a caption."""
    return {"state": "empty", "prompt": prompt}


def make_writing_value(
    words: Sequence[CaptionWord], photo: Image.Image | None = None
) -> WritingValue:
    """The words so far; the photo with the first value alone."""
    value: WritingValue = {
        "state": "writing",
        "words": [{"text": word.text, "probability": word.probability} for word in words],
    }
    if photo is not None:
        value["photo"] = to_data_url(fit_for_display(photo))
    return value


def make_explained_value(
    explanation: Explanation,
    alternatives: Sequence[Sequence[Alternative]],
    *,
    captioner: Captioner,
    method: str,
    layer: int | None,
    head: int | None,
    continues: bool,
    memory_name: str = "",
) -> ExplainedValue:
    """The words of an explanation with the maps of one method.

    alternatives: for each word, best first.
    captioner: the one that was asked.
    layer, head: those whose maps are shown; all if None.
    memory_name: of the memory whose captions the words could look at.

    Raises OptionError for a layer or head that there is not.
    """
    maps = np.stack(explanation.heatmaps(method, layer=layer, head=head))
    peaks = maps.max(axis=(1, 2))
    scaled = np.uint8(np.rint(255 * maps / np.maximum(peaks, 1e-12)[:, None, None]))
    layers, heads = (
        explanation.attention.weights.shape[:2] if METHODS[method].has_layers else (0, 0)
    )
    value: ExplainedValue = {
        "state": "done",
        "id": time.monotonic(),
        "model": captioner.name,
        "words": [
            {
                "text": word.text,
                "probability": word.probability,
                "fact": _describe_word(explanation, i),
                "earlier": [round(share, 4) for share in explanation.earlier_words(i) or ()],
                "alternatives": [
                    {"text": other.text, "probability": other.probability}
                    for other in alternatives[i]
                ],
            }
            for i, word in enumerate(explanation.words)
        ],
        "maps": {
            "rows": maps.shape[1],
            "cols": maps.shape[2],
            "peaks": peaks.tolist(),
            "data": base64.b64encode(scaled.tobytes()).decode(),
        },
        "summary": f"All of it: {_describe_likelihood(explanation.caption)} (log-probability "
        f"{explanation.log_probability:.1f}).",
        "doubt": describe_alike_maps(list(maps)) or "",
        "continues": continues,
        "settings": {
            "methods": {method.name: method.description for method in METHODS.values()},
            "method": method,
            "layers": layers,
            "layer": layer,
            "heads": heads,
            "head": head,
        },
        # the word that owes the photo most
        "first_word": int(np.argmax(explanation.gains)),
    }
    if captioner.prompt is not None:
        value["prompt"] = captioner.prompt
    if not captioner.network.decoder.has_cross_attention:
        value["about_maps"] = SELF_ATTENTION_MAPS
    if explanation.remembered:
        value["memory"] = make_memory_value(explanation, memory_name)
    return value


def make_head_maps_value(explanation: Explanation, method: str, key: str) -> HeadMapsValue:
    """What every head of every layer looked at, for all words of an explanation.

    A word's heads share one scale: a map that stays dark is of a head that did little for the word.
    method: one that has layers. key: what the lens sent with its question.
    """
    layers, heads = explanation.attention.weights.shape[:2]
    maps = np.stack(
        [
            explanation.heatmaps(method, layer=layer, head=head)
            for layer in range(layers)
            for head in range(heads)
        ],
        axis=1,
    )  # (words, layers · heads, rows, cols)
    peaks = maps.max(axis=(1, 2, 3), keepdims=True)
    scaled = np.uint8(np.rint(255 * maps / np.maximum(peaks, 1e-12)))
    return {
        "key": key,
        "layers": layers,
        "heads": heads,
        "rows": maps.shape[2],
        "cols": maps.shape[3],
        "data": base64.b64encode(scaled.tobytes()).decode(),
    }


def rank_captions(captions: Sequence[Caption]) -> list[RankedCaption]:
    """Several captions of a photo, as the lens lists them."""
    return [{"text": c.text, "likelihood": _describe_likelihood(c)} for c in captions]


def _describe_likelihood(caption: Caption) -> str:
    return describe_likelihood(caption.log_probability, len(caption.words))


def _describe_word(explanation: Explanation, index: int) -> str:
    """How much a word needs the photo, and how much of it it looked at."""
    word = explanation.words[index]
    share = compute_image_share(explanation.attention, (word.start, word.stop))
    factor = math.exp(min(explanation.gains[index], math.log(1000)))
    need = explanation.describe_unneeded_photo(index)
    need = need or f"The photo makes it {_describe_factor(factor)} likelier."
    return f"{need} {share:.0%} of its attention fell on the photo."


def _describe_factor(factor: float) -> str:
    if factor >= 999:
        return "a thousand times"
    return f"{factor:.0f} times" if factor >= 9.95 else f"{factor:.1f} times"
