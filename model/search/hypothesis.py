"""What a search is about: the beginnings of captions, and what stays the same while they grow."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.network.cache import Cache
from model.network.decoder import Decoder
from model.search.options import DecodingOptions
from model.search.rules import mask_forbidden


class Hypothesis(NamedTuple):
    """A caption, or the beginning of one: its tokens (the end token too) and what the model gave
    each as log-probability."""

    tokens: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()

    def append(self, token: int, log_probability: float) -> "Hypothesis":
        """This hypothesis with one more token, as a new value."""
        return Hypothesis((*self.tokens, token), (*self.log_probabilities, log_probability))

    def score(self, length_penalty: float, num_forced_tokens: int = 0) -> float:
        """log-probability / length ** length_penalty; see `Decoder` for forced tokens."""
        length = len(self.tokens) + num_forced_tokens
        return sum(self.log_probabilities) / length**length_penalty


# For each image of a batch its hypotheses, best first.
Ranked = list[list[Hypothesis]]


@dataclass(frozen=True)
class SearchTask:
    """What stays the same during a search.

    Attributes:
        start: id of the token that begins a caption.
        ends: ids of the tokens that end one.
        equal_tokens: tokens that `no_repeat_ngram` takes for others.
    """

    decoder: Decoder
    start: int
    ends: Collection[int]
    options: DecodingOptions
    equal_tokens: Mapping[int, int]

    @torch.inference_mode()
    def read_prefix(self, prefix: Sequence[int], cache: Cache) -> tuple[list[Hypothesis], Cache]:
        """Every image's caption, begun with the prefix; its last token is left for the first step
        to read."""
        if not prefix:
            return [Hypothesis()] * cache.num_images, cache
        ids = torch.tensor([self.start, *prefix], device=cache.device)
        output = self.decoder(ids[:-1].expand(cache.num_images, -1), cache)
        rated = output.logits.float().log_softmax(dim=-1)
        own = rated.gather(2, ids[1:].expand(cache.num_images, -1)[..., None])[..., 0].tolist()
        return [Hypothesis(tuple(prefix), tuple(values)) for values in own], output.cache

    @torch.inference_mode()
    def rate_next_tokens(
        self, hypotheses: Sequence[Hypothesis], cache: Cache
    ) -> tuple[Tensor, Cache]:
        """Log-probabilities (hypotheses, vocab_size) of the token after each one's last."""
        last = [h.tokens[-1] if h.tokens else self.start for h in hypotheses]
        output = self.decoder(torch.tensor(last, device=cache.device)[:, None], cache)
        return output.logits[:, -1].float().log_softmax(dim=-1), output.cache

    def mask_forbidden(self, rated: Tensor, hypotheses: Sequence[Hypothesis]) -> Tensor:
        """Log-probabilities with -inf for what the options rule out; see `rules`."""
        tokens = [hypothesis.tokens for hypothesis in hypotheses]
        return mask_forbidden(rated, tokens, self.ends, self.options, self.equal_tokens)

    def score(self, hypothesis: Hypothesis) -> float:
        """What beams are ranked by."""
        return hypothesis.score(self.options.length_penalty, self.decoder.num_forced_tokens)

    def is_whole(self, hypothesis: Hypothesis) -> bool:
        """Whether a caption has ended, or is as long as it may be."""
        return self.has_ended(hypothesis) or len(hypothesis.tokens) == self.options.max_length

    def has_ended(self, hypothesis: Hypothesis) -> bool:
        """Whether its last token is one that ends a caption."""
        return bool(hypothesis.tokens) and hypothesis.tokens[-1] in self.ends
