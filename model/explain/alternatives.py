"""What the model would have written instead: the likeliest other words at each place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from model.explain.replay import read_sentence, tokenize_sentence
from model.network.cache import Cache
from model.network.decoder import TokenTree
from model.network.network import EncodedPhoto, Network
from model.search.caption import Caption

MAX_ALTERNATIVES = 4  # for each word
MAX_TOKENS = 8  # of one alternative


class Alternative(NamedTuple):
    """A word that could have stood there; the empty text stands for the end of the caption."""

    text: str
    probability: float


@dataclass(frozen=True)
class _PartialWord:
    """An alternative while it grows, likeliest token first, until the next token would begin
    another word.

    Attributes:
        word_index: of the word that it would replace.
        start: the number of caption tokens before it.
        tokens: those it has so far.
        columns: where the decoder's cache has all of its tokens but the last.
    """

    word_index: int
    start: int
    tokens: list[int]
    log_probability: float
    columns: tuple[int, ...] = ()

    def append(self, token: int, log_probability: float, column: int) -> _PartialWord:
        """With one more token; the token before it is in the cache at `column`."""
        return replace(
            self,
            tokens=[*self.tokens, token],
            log_probability=self.log_probability + log_probability,
            columns=(*self.columns, column),
        )


@torch.inference_mode()
def find_alternatives(
    network: Network, photo: EncodedPhoto, caption: Caption | str
) -> list[list[Alternative]]:
    """For each word of a caption, or of any sentence, the likeliest other words at its place, best
    first.

    An alternative begins with one of the `MAX_ALTERNATIVES` likeliest other tokens, followed by
    the likeliest tokens until the word is whole; its probability is the product over them.

    Raises OptionError as `tokenize_sentence` does.
    """
    tokenizer = network.tokenizer
    tokens, words = tokenize_sentence(network, caption)
    _, output = read_sentence(network, photo.context[None], tokens)
    log_probabilities, cache = output.logits[0].float().log_softmax(-1), output.cache
    finished: list[_PartialWord] = []
    growing: list[_PartialWord] = []
    for index, word in enumerate(words):
        for token, log_probability in _find_likeliest_first_tokens(
            network, log_probabilities[word.start], tokens[word.start], is_first=index == 0
        ):
            partial = _PartialWord(index, word.start, [token], log_probability)
            (finished if token in tokenizer.ends else growing).append(partial)
    while growing:
        last_tokens = [[partial.tokens[-1] for partial in growing]]
        column = cache.length
        output = network.decoder(
            torch.tensor(last_tokens, device=network.device),
            cache,
            tree=_build_tree(growing, cache),
        )
        best, cache = output.logits[0].float().log_softmax(-1).max(-1), output.cache
        unfinished = []
        for partial, log_probability, token in zip(
            growing, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            max_tokens = min(MAX_TOKENS, network.config.max_length - 1 - partial.start)
            if len(partial.tokens) >= max_tokens or tokenizer.follows_a_word(token):
                finished.append(partial)
            else:
                unfinished.append(partial.append(token, log_probability, column))
            column += 1
        growing = unfinished
    alternatives: list[list[Alternative]] = [[] for _ in words]
    for partial in sorted(finished, key=lambda partial: -partial.log_probability):
        is_end = partial.tokens[0] in tokenizer.ends
        text = "" if is_end else tokenizer.words(partial.tokens)[0].text
        if text or is_end:  # a lone space is no word
            probability = math.exp(partial.log_probability)
            alternatives[partial.word_index].append(Alternative(text, probability))
    return alternatives


def _find_likeliest_first_tokens(
    network: Network, log_probabilities: Tensor, caption_token: int, is_first: bool
) -> list[tuple[int, float]]:
    """The `MAX_ALTERNATIVES` likeliest tokens that may begin a word here, without the caption's
    own, each with its log-probability.

    log_probabilities: (vocab_size,). is_first: whether the caption begins with this word.
    """
    tokenizer = network.tokenizer
    best = log_probabilities.topk(min(4 * MAX_ALTERNATIVES, len(log_probabilities)))

    def may_begin(token: int) -> bool:
        if is_first:
            return token not in (tokenizer.start, *tokenizer.ends)
        return tokenizer.follows_a_word(token)

    return [
        (token, log_probability)
        for token, log_probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        if token != caption_token and may_begin(token)
    ][:MAX_ALTERNATIVES]


def _build_tree(partials: Sequence[_PartialWord], cache: Cache) -> TokenTree:
    """Each one's last token: it sees the caption before the word, and the word's own tokens."""
    mask = torch.zeros(len(partials), cache.length + len(partials), dtype=torch.bool)
    for row, partial in enumerate(partials):
        mask[row, : partial.start + 1] = True  # the start token is there too
        mask[row, [*partial.columns, cache.length + row]] = True
    positions = torch.tensor([partial.start + len(partial.tokens) for partial in partials])
    return TokenTree(positions.to(cache.device), mask.to(cache.device))
