"""What a lens displays of a caption in another language."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypedDict

import numpy as np

from model.translation import Translation
from model.wording import UNFAMILIAR_SENTENCE


class TranslatedWord(TypedDict):
    text: str
    probability: float


class TranslationValue(TypedDict):
    """A caption's translation, or why there is none."""

    language: str
    source: str  # the caption as it was asked for: with these the lens knows whose answer it is
    words: list[TranslatedWord]
    alignment: list[list[float]]  # for each of these words a share for each word of the caption
    note: str  # a sentence on what is wrong with it; empty if nothing is


def make_translation_value(translation: Translation, text: str) -> TranslationValue:
    """A translation of a caption; `text` is the caption's words with a space between."""
    words = text.split(" ")
    alignment = np.zeros((len(translation.words), len(words)))
    source_words = [word.text for word in translation.source_words]
    for column, word in enumerate(match_words(words, source_words)):
        alignment[:, word] += translation.alignment[:, column]
    return {
        "language": translation.language,
        "source": text,
        "words": [{"text": w.text, "probability": w.probability} for w in translation.words],
        "alignment": alignment.round(4).tolist(),
        "note": UNFAMILIAR_SENTENCE if translation.is_unfamiliar else "",
    }


def make_untranslated_value(text: str, language: str, problem: str) -> TranslationValue:
    """For a caption that cannot be translated."""
    return {"language": language, "source": text, "words": [], "alignment": [], "note": problem}


def match_words(words: Sequence[str], source_words: Sequence[str]) -> list[int]:
    """For each word of the source as the translator reads it, the caption's word in which it
    begins: the translator puts a mark that stands alone to the word before it."""
    stops = list(accumulate(map(len, words)))
    starts = [0, *accumulate(map(len, source_words))][:-1]
    return [min(bisect_right(stops, start), len(words) - 1) for start in starts]
