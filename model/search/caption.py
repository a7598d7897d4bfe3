"""What a captioner says: words, each with its probability."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from model.network.memory_encoder import RememberedCaption
from model.network.tokenizer import Word


class CaptionWord(NamedTuple):
    """A word, the probability the model gave it, and its tokens [start, stop) in the caption."""

    text: str
    probability: float
    start: int
    stop: int


@dataclass(frozen=True)
class Caption:
    """A caption, whole or still growing.

    Attributes:
        text: the words with single spaces between.
        words: each with its probability, the product over its tokens.
        log_probability: natural logarithm, over all tokens, the end token included once it is
            there.
        tokens: ids, the end token included once it is there.
        remembered: captions of similar photos that the words could look at too.
    """

    text: str
    words: list[CaptionWord]
    log_probability: float
    tokens: tuple[int, ...]
    remembered: tuple[RememberedCaption, ...] = field(default=(), kw_only=True)


def add_probabilities(
    words: Sequence[Word | CaptionWord], log_probabilities: Sequence[float]
) -> list[CaptionWord]:
    """Words (`tokenizer.Word`) with their probabilities, from those of the tokens."""
    return [
        CaptionWord(
            w.text, float(np.exp(sum(log_probabilities[w.start : w.stop]))), w.start, w.stop
        )
        for w in words
    ]
