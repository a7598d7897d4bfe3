"""What the model would have written instead: the runners-up to each word of a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from model.errors import OptionError
from model.explain.explanation import read, read_sentence
from model.network.decoder import Cache, TokenTree
from model.search.caption import Caption

if TYPE_CHECKING:
    from model.captioner import Captioner

LONGEST = 8  # tokens of a runner-up


class Alternative(NamedTuple):
    """A word that could have stood there; the empty text stands for the end of the caption."""

    text: str
    probability: float


@dataclass(frozen=True)
class _RunnerUp:
    """A word while it grows, likeliest piece first, until the next piece would begin another.

    Attributes:
        place: of the word it would stand for.
        start: the number of tokens said before it.
        columns: where the decoder's cache has all tokens but the last.
    """

    place: int
    start: int
    tokens: list[int]
    log_probability: float
    columns: tuple[int, ...] = ()

    def then(self, token: int, log_probability: float, column: int) -> _RunnerUp:
        """With one more piece; the piece before it is in the cache at `column`."""
        return replace(
            self,
            tokens=[*self.tokens, token],
            log_probability=self.log_probability + log_probability,
            columns=(*self.columns, column),
        )


def _tree(runners_up: Sequence[_RunnerUp], cache: Cache) -> TokenTree:
    """Each one's last token: it sees what was said before the word, and the word's own pieces."""
    keys = cache[0].self_attn.keys
    cached = keys.shape[2]
    mask = torch.zeros(len(runners_up), cached + len(runners_up), dtype=torch.bool)
    for row, one in enumerate(runners_up):
        mask[row, : one.start + 1] = True  # the start token is there too
        mask[row, [*one.columns, cached + row]] = True
    positions = torch.tensor([one.start + len(one.tokens) for one in runners_up])
    return TokenTree(positions.to(keys.device), mask.to(keys.device))


@torch.inference_mode()
def alternatives(
    captioner: Captioner, image_features: Tensor, caption: Caption | str, count: int
) -> list[list[Alternative]]:
    """See `Captioner.alternatives`. image_features: (S, image_width)."""
    if not isinstance(count, Integral) or count < 1:
        raise OptionError(f"count must be a whole number from 1, not {count!r}")
    tokenizer = captioner.tokenizer
    said, words = read_sentence(captioner, caption)
    _, output = read(captioner, image_features[None], said)
    rated, cache = output.logits[0].float().log_softmax(-1), output.cache

    def may_stand(token: int, place: int) -> bool:
        if place:
            return tokenizer.follows_a_word(token)
        return token not in (tokenizer.start, tokenizer.end)

    open_: list[_RunnerUp] = []
    done: list[_RunnerUp] = []
    for place, word in enumerate(words):
        best = rated[word.start].topk(min(4 * count, rated.shape[1]))
        found = [
            _RunnerUp(place, word.start, [token], value)
            for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if token != said[word.start] and may_stand(token, place)
        ][:count]
        for one in found:
            (done if one.tokens == [tokenizer.end] else open_).append(one)
    while open_:
        tree = _tree(open_, cache)
        last = torch.tensor([[one.tokens[-1] for one in open_]], device=captioner.device)
        output = captioner.decoder(last, cache, tree=tree)
        values, tokens = output.logits[0].float().log_softmax(-1).max(-1)
        first, cache = cache[0].self_attn.keys.shape[2], output.cache
        still = []
        for column, (one, value, token) in enumerate(
            zip(open_, values.tolist(), tokens.tolist(), strict=True), first
        ):
            longest = min(LONGEST, captioner.config.max_length - 1 - one.start)
            if len(one.tokens) >= longest or tokenizer.follows_a_word(token):
                done.append(one)
            else:
                still.append(one.then(token, value, column))
        open_ = still
    listed: list[list[Alternative]] = [[] for _ in words]
    for one in sorted(done, key=lambda one: -one.log_probability):
        ends = one.tokens == [tokenizer.end]
        text = "" if ends else tokenizer.words(one.tokens)[0].text
        if text or ends:  # a lone space is no word
            listed[one.place].append(Alternative(text, math.exp(one.log_probability)))
    return listed
