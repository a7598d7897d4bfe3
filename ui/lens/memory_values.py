"""What a lens displays of a memory: the remembered captions, and how much each word looked at
them."""

from typing import TypedDict

from model import Explanation


class RememberedValue(TypedDict):
    photo: str  # the remembered photo's name
    words: list[str]


class MemoryValue(TypedDict):
    """Captions that a caption's words could look at too."""

    name: str  # of the memory, as the menu has it
    captions: list[RememberedValue]
    shares: list[float]  # for each word of the caption, how much of its attention fell on them
    weights: list[list[list[float]]]  # and on each word of each remembered caption


def make_memory_value(explanation: Explanation, name: str) -> MemoryValue:
    """An explanation's remembered captions, from the memory of this name."""
    indices = range(len(explanation.words))
    return {
        "name": name,
        "captions": [
            {"photo": caption.photo, "words": [word.text for word in caption.words]}
            for caption in explanation.remembered
        ],
        "shares": [round(explanation.memory_share(i), 4) for i in indices],
        "weights": [
            [[round(weight, 5) for weight in weights] for weights in explanation.memory_weights(i)]
            for i in indices
        ],
    }
