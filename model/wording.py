"""Sentences about captions and maps that the page, the command line and the figures share."""

import math

NOTHING_TO_SAY = "The model has nothing to say about this photo."  # a caption without words
SELF_ATTENTION_MAPS = (
    "This model has no cross-attention: photo and text are one sequence. Its maps are "
    "self-attention, with queries from the sequence's end and keys and values from its beginning."
)
ALIKE_MAPS = "The maps hardly depend on the word: they show one place for all of them."

UNFAMILIAR_SENTENCE = (
    "This sentence is unlike the captions that the translator learned from: expect a worse "
    "translation."
)


def describe_likelihood(log_probability: float, num_words: int) -> str:
    """How likely a sentence is, so that long and short ones compare: the geometric mean over its
    words. Not over its tokens: vocabularies cut words differently."""
    return f"{math.exp(log_probability / num_words):.0%} a word"


def describe_unneeded_photo(word: str, probability: float, without_photo: float) -> str:
    """The sentence for a word that is hardly more likely with the photo than without it."""
    return (
        f"“{word}” hardly needs the photo: {probability:.0%} likely with it, "
        f"{without_photo:.0%} without."
    )
