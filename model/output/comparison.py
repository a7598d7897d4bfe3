"""Captioners side by side: what each says of a photo, how sure it is, how long it takes, and where
the words that they share looked."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.captioner import Captioner
from model.errors import ImageError
from model.explain.explanation import Explanation
from model.network.tokenizer import PUNCTUATION

MOST = 5  # words shown side by side
# words that two captions may share without agreeing on anything
SMALL = frozenset(
    "a an and are as at by for from has have her his in into is it its of off on onto or out over "
    "some that the their them there they this through to two up while with".split()
)


@dataclass(frozen=True)
class Side:
    """What one captioner made of a photo.

    Attributes:
        name: the captioner's.
        explanation, maps: of its caption; the maps one a word.
        seconds: that the caption took, from the photo to the last word, maps not counted.
    """

    name: str
    explanation: Explanation
    maps: list[np.ndarray]
    seconds: float

    @property
    def probability(self) -> float:
        """Of a word, the geometric mean. Not of a token: vocabularies cut words differently."""
        return math.exp(self.explanation.log_probability / len(self.explanation.words))

    def told(self) -> str:
        """Time and probability, in words."""
        return f"{self.seconds:.2f} s, {self.probability:.0%} likely a word"


def look(captioner: Captioner, photo: Image.Image) -> Side:
    """Caption a photo and explain the caption; raises ValueError for a caption without words."""
    # the first pass through a network takes longer than others
    captioner.caption(captioner.encoder.grey_features()[0], max_length=1, min_length=0)
    begun = time.perf_counter()
    features = captioner.encode([photo])[0]
    caption = captioner.caption(features)
    seconds = time.perf_counter() - begun
    if not caption.words:
        raise ImageError(f"{captioner.name} has nothing to say about this photo")
    explanation = captioner.explain(features, caption)
    return Side(captioner.name, explanation, explanation.heatmaps(), seconds)


def shared_words(sides: Sequence[Side]) -> list[list[int]]:
    """For each side the places of the words that all of them say: equally many, in the order of
    the first side. Capitals and marks do not count, nor do words such as "a" and "in".

    A word said twice is taken where it is said first. Of more than `MOST` those are taken that
    gain most from the photo.
    """
    places = []
    for side in sides:
        words = [plain(word.text) for word in side.explanation.words]
        places.append({word: words.index(word) for word in words if word and word not in SMALL})
    common = [word for word in places[0] if all(word in other for other in places)]

    def gain(word: str) -> float:
        return sum(s.explanation.gains[p[word]] for s, p in zip(sides, places, strict=True))

    kept = sorted(common, key=gain, reverse=True)[:MOST]
    return [[place[word] for word in common if word in kept] for place in places]


def words_to_show(sides: Sequence[Side]) -> tuple[list[list[int]], str]:
    """For each side the places of the words whose maps are worth showing, and what they are."""
    common = shared_words(sides)
    if common[0]:
        return common, "words in all of them"
    most = [[int(np.argmax(side.explanation.gains))] for side in sides]
    return most, "no word in common; the word that owes most to the photo"


def plain(word: str) -> str:
    """A word as it is compared."""
    return word.lower().strip(PUNCTUATION)
