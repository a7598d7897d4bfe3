"""What scores do not show: captions that repeat themselves or break off, how many words are used,
and whether colours and numbers are those that people saw."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.corpora.ptb_tokenizer import tokenize

COLOURS = frozenset(
    "red blue green yellow black white brown orange pink purple grey tan blond".split()
)
SPELLINGS = {"gray": "grey", "blonde": "blond"}
NUMBERS = frozenset("two three four five six several".split())
# A caption whose last word is one of these is incomplete.
INCOMPLETE_ENDINGS = frozenset(
    "a an the in on at of with and or to for by from into onto near over under through while as "
    "is are his her their its wearing holding".split()
)


def compute_statistics(
    captions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Counts over all captions; both mappings are by the image's name.

    Returns:
        `distinct_captions`, `distinct_words`; `repeating`: captions in which the same two words
        follow each other twice; `breaking_off`: captions that end with a word that must lead on to
        another; `colours`, `numbers`: [words that a reference of the image has too, all such
        words]; `people`: `repeating` and `breaking_off` of each image's first reference.
    """
    words = {name: tokenize(caption) for name, caption in captions.items()}
    reference_words = [tokenize(references[name][0]) for name in captions]
    return {
        "distinct_captions": len(set(captions.values())),
        "distinct_words": len({word for caption in words.values() for word in caption}),
        "repeating": sum(map(repeats_pair, words.values())),
        "breaking_off": sum(map(breaks_off, words.values())),
        "colours": count_agreement(words, references, COLOURS),
        "numbers": count_agreement(words, references, NUMBERS),
        "people": {
            "repeating": sum(map(repeats_pair, reference_words)),
            "breaking_off": sum(map(breaks_off, reference_words)),
        },
    }


def repeats_pair(words: Sequence[str]) -> bool:
    """Whether the same two words follow each other twice."""
    pairs = list(zip(words, words[1:], strict=False))
    return len(set(pairs)) < len(pairs)


def breaks_off(words: Sequence[str]) -> bool:
    """Whether a caption is empty or ends where another word must follow."""
    return not words or words[-1] in INCOMPLETE_ENDINGS


def count_agreement(
    words: Mapping[str, Sequence[str]],
    references: Mapping[str, Sequence[str]],
    vocabulary: frozenset[str],
) -> list[int]:
    """How many words of a vocabulary in the captions are in a reference too, and how many there
    are."""
    num_right = num_words = 0
    for name, caption in words.items():
        in_references = {
            unify_spelling(word) for reference in references[name] for word in tokenize(reference)
        }
        for word in vocabulary.intersection(map(unify_spelling, caption)):
            num_words += 1
            num_right += word in in_references
    return [num_right, num_words]


def unify_spelling(word: str) -> str:
    """The British spelling of a colour; other words as they are."""
    return SPELLINGS.get(word, word)
