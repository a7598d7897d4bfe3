"""Captioners side by side: what each says of a photo, how sure it is, how long it takes, and where
the words that they share looked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.captioner import Captioner
from model.errors import ImageError
from model.explain.explanation import Explanation
from model.network.tokenizer import PUNCTUATION
from model.wording import NOTHING_TO_SAY, describe_likelihood

MAX_WORDS = 5  # shown side by side
# words that two captions may share without agreeing on anything
FUNCTION_WORDS = frozenset(
    "a an and are as at by for from has have her his in into is it its of off on onto or out over "
    "some that the their them there they this through to two up while with".split()
)


@dataclass(frozen=True)
class ComparedCaption:
    """One captioner's caption of a photo, with its maps.

    Attributes:
        name: the captioner's.
        explanation: of the caption.
        maps: one for each word.
        seconds: from the photo to the last word, without the maps.
    """

    name: str
    explanation: Explanation
    maps: list[NDArray[Any]]
    seconds: float

    def summary(self) -> str:
        """Time and probability, in words."""
        sentence = self.explanation
        likelihood = describe_likelihood(sentence.log_probability, len(sentence.words))
        return f"{self.seconds:.2f} s, {likelihood}"


class ChosenWords(NamedTuple):
    """The words whose maps are worth showing.

    Attributes:
        indices: for each caption the indices of its words, equally many.
        description: what these words are.
    """

    indices: list[list[int]]
    description: str


def explain_for_comparison(captioner: Captioner, photo: Image.Image) -> ComparedCaption:
    """Caption a photo, timed, and explain the caption; raises ImageError for a caption without
    words."""
    # the first pass through a network takes longer than others
    captioner.caption(photo, max_length=1, min_length=0)
    start = time.perf_counter()
    encoded = captioner.encode([photo])[0]
    caption = captioner.caption(encoded)
    seconds = time.perf_counter() - start
    if not caption.words:
        raise ImageError(f"{captioner.name}: {NOTHING_TO_SAY}")
    explanation = captioner.explain(encoded, caption)
    return ComparedCaption(captioner.name, explanation, explanation.heatmaps(), seconds)


def find_shared_words(captions: Sequence[ComparedCaption]) -> list[list[int]]:
    """For each caption the indices of the words that are in all of them, in the order of the first.

    Capitals and punctuation do not count, nor do words such as "a" and "in". Of a word that occurs
    twice the first is taken; of more than `MAX_WORDS` those that gain most from the photo.
    """
    first_index_by_word = []
    for caption in captions:
        words = [normalize_word(word.text) for word in caption.explanation.words]
        first_index_by_word.append(
            {word: words.index(word) for word in words if word and word not in FUNCTION_WORDS}
        )
    shared = [
        word
        for word in first_index_by_word[0]
        if all(word in indices for indices in first_index_by_word)
    ]

    def total_gain(word: str) -> float:
        return sum(
            caption.explanation.gains[indices[word]]
            for caption, indices in zip(captions, first_index_by_word, strict=True)
        )

    kept = sorted(shared, key=total_gain, reverse=True)[:MAX_WORDS]
    return [[indices[word] for word in shared if word in kept] for indices in first_index_by_word]


def choose_words(captions: Sequence[ComparedCaption]) -> ChosenWords:
    """The words that are in all captions; if there are none, each caption's word that gains most
    from the photo."""
    shared = find_shared_words(captions)
    if shared[0]:
        return ChosenWords(shared, "words in all of them")
    most_gained = [[int(np.argmax(caption.explanation.gains))] for caption in captions]
    return ChosenWords(most_gained, "no word in common; the word that owes most to the photo")


def normalize_word(word: str) -> str:
    """A word as it is compared: in small letters, without punctuation."""
    return word.lower().strip(PUNCTUATION)
