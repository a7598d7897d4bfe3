"""What a score does not show: captions that repeat themselves or break off, how many words are
used, and whether colours and numbers are those that people saw."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.data.ptb_tokenizer import tokenize

COLOURS = frozenset(
    "red blue green yellow black white brown orange pink purple grey tan blond".split()
)
SPELLINGS = {"gray": "grey", "blonde": "blond"}
NUMBERS = frozenset("two three four five six several".split())
# A caption that ends with one of these has not come to its end.
LEADING_ON = frozenset(
    "a an the in on at of with and or to for by from into onto near over under through while as "
    "is are his her their its wearing holding".split()
)


def habits(captions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Counts over all captions, by the image's name.

    `repeating`: captions in which two words in a row come twice; `breaking_off`: captions whose
    last word must lead on to another; `colours`, `numbers`: [words that a reference of the image
    has too, all such words]; `people`: the first two counts for each image's first reference.
    """
    words = {name: tokenize(caption) for name, caption in captions.items()}
    people = [tokenize(references[name][0]) for name in captions]
    return {
        "distinct_captions": len(set(captions.values())),
        "distinct_words": len({word for said in words.values() for word in said}),
        "repeating": sum(map(_repeats, words.values())),
        "breaking_off": sum(map(_breaks_off, words.values())),
        "colours": _agreement(words, references, COLOURS),
        "numbers": _agreement(words, references, NUMBERS),
        "people": {
            "repeating": sum(map(_repeats, people)),
            "breaking_off": sum(map(_breaks_off, people)),
        },
    }


def _repeats(words: Sequence[str]) -> bool:
    pairs = list(zip(words, words[1:], strict=False))
    return len(set(pairs)) < len(pairs)


def _breaks_off(words: Sequence[str]) -> bool:
    return not words or words[-1] in LEADING_ON


def _agreement(
    words: Mapping[str, Sequence[str]], references: Mapping[str, Sequence[str]], of: frozenset[str]
) -> list[int]:
    right = total = 0
    for name, said in words.items():
        seen = {_spelt(word) for reference in references[name] for word in tokenize(reference)}
        for word in of.intersection(map(_spelt, said)):
            total += 1
            right += word in seen
    return [right, total]


def _spelt(word: str) -> str:
    return SPELLINGS.get(word, word)
