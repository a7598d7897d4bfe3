"""Patches that are alike become one token: less to compute (Bolya et al. 2023, "Token Merging").

Between a layer's attention and its MLP the `count` tokens most like another are averaged into it,
by the cosine of their keys. Sizes are remembered, so that a token of many patches weighs as many in
the attention of later layers ("proportional attention"), and places, so that each patch finds the
token it has become: a map keeps its full grid.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MergedTokens(NamedTuple):
    """Tokens (B, N, width), how many patches each stands for (B, N), and where each of the first
    layer's tokens has gone (B, first N)."""

    tokens: Tensor
    sizes: Tensor
    places: Tensor

    @classmethod
    def begin(cls, tokens: Tensor) -> "MergedTokens":
        """Nothing merged yet."""
        batch, length, _ = tokens.shape
        places = torch.arange(length, device=tokens.device).expand(batch, -1)
        return cls(tokens, tokens.new_ones(batch, length), places)

    def merge(self, keys: Tensor, count: int, num_prefix_tokens: int) -> "MergedTokens":
        """The `count` most alike pairs become one token each; prefix tokens stay as they are.

        keys: (B, heads, N, head_dim) of the attention before. Every second token may join one of
        the others, the one most like it, so at most half of the tokens go.
        """
        # they stand first only before the first merge
        is_prefix = torch.zeros_like(self.sizes, dtype=torch.bool)
        is_prefix.scatter_(1, self.places[:, :num_prefix_tokens], True)
        num_free = (~is_prefix[0, ::2]).sum().item()  # the same for each photo
        count = min(count, int(num_free))
        if count <= 0 or is_prefix[0, 1::2].all():
            return self
        near, into = match_tokens(keys, is_prefix)
        order = near.argsort(dim=1, descending=True)
        leaving = order[:, :count]
        staying = order[:, count:].sort(dim=1).values
        targets = into.gather(1, leaving)
        weighted = self.tokens * self.sizes[..., None]
        both = torch.cat([weighted, self.sizes[..., None]], dim=2)
        joining, joined = both[:, ::2], both[:, 1::2]
        joined = joined.scatter_add(1, _expand(targets, joining), _take(joining, leaving))
        both = torch.cat([_take(joining, staying), joined], dim=1)
        sizes = both[..., -1]
        # where every second token has gone, and the others, which stand behind those that stay
        num_staying = staying.shape[1]
        gone = torch.empty_like(order)
        gone.scatter_(1, staying, torch.arange(num_staying, device=order.device).expand_as(staying))
        gone.scatter_(1, leaving, targets + num_staying)
        places = torch.empty_like(self.sizes, dtype=torch.long)
        places[:, ::2] = gone
        places[:, 1::2] = torch.arange(num_staying, both.shape[1], device=order.device)
        return MergedTokens(both[..., :-1] / sizes[..., None], sizes, places.gather(1, self.places))

    def spread(self) -> Tensor:
        """A token for every place of the first layer: those that were merged have the same."""
        return _take(self.tokens, self.places)


def match_tokens(keys: Tensor, is_prefix: Tensor) -> tuple[Tensor, Tensor]:
    """For every second token, from the first on, how like it is to the one of the others that is
    most like it, and that one's number among them: (B, N / 2) each.

    is_prefix: (B, N) bool, the tokens that are like none.
    """
    alike = F.normalize(keys.mean(dim=1), dim=2)
    cosines = alike[:, ::2] @ alike[:, 1::2].transpose(1, 2)
    pairs = is_prefix[:, ::2, None] | is_prefix[:, None, 1::2]
    cosines = cosines.masked_fill(pairs, float("-inf"))
    return cosines.max(dim=2)


def _expand(indices: Tensor, like: Tensor) -> Tensor:
    return indices[..., None].expand(-1, -1, like.shape[2])


def _take(tokens: Tensor, indices: Tensor) -> Tensor:
    return tokens.gather(1, _expand(indices, tokens))
