"""Multi-head attention: the one block that serves as self-attention and as cross-attention.

    weights = softmax(Q Kᵀ / √head_dim)        output = weights V

Vaswani et al. 2017, "Attention Is All You Need", eq. 1 and section 3.2.2. The queries Q come
from the text. Keys K and values V come from the text so far (self-attention) or from the image
(cross-attention): nothing else differs. `model/lesson/numpy_attention.py` is the same in NumPy.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.linear import Linear


class KeyValues(NamedTuple):
    """What the queries are matched against: keys and values, each (B, heads, S, head_dim)."""

    keys: Tensor
    values: Tensor

    def append(self, later: "KeyValues") -> "KeyValues":
        """These positions followed by later ones, as a new value."""
        return KeyValues(
            torch.cat([self.keys, later.keys], dim=2),
            torch.cat([self.values, later.values], dim=2),
        )

    def select(self, rows: Tensor) -> "KeyValues":
        """The given batch rows, in the given order."""
        return KeyValues(self.keys[rows], self.values[rows])


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention over several heads.

    Args:
        width: size of the vectors that ask (and of the output).
        num_heads: must divide `width`.
        context_width: size of the vectors that are looked at; `width` if not given.
        bias: whether the projections to queries, keys and values have one.

    There is no dropout on the weights: it would cost the fused kernel on a CPU, and the weights
    that are shown would not be those that were used.
    """

    def __init__(
        self, width: int, num_heads: int, context_width: int | None = None, bias: bool = True
    ):
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query = Linear(width, width, bias)
        self.key = Linear(context_width or width, width, bias)
        self.value = Linear(context_width or width, width, bias)
        self.output = Linear(width, width)

    def keys_values(self, context: Tensor) -> KeyValues:
        """Project a context (B, S, context_width). For an image, once is enough."""
        return KeyValues(self._split(self.key(context)), self._split(self.value(context)))

    def forward(
        self,
        x: Tensor,
        keys_values: KeyValues,
        *,
        is_causal: bool = False,
        mask: Tensor | None = None,
        visible: Tensor | None = None,
        sizes: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Let every position of `x` look at `keys_values`.

        Args:
            x: (rows, T, width). `rows` may be a multiple of the batch of `keys_values`: then
                consecutive rows share one context (the captions or beams of one image), and
                its keys and values are not copied.
            is_causal: `x` is the last T of the S positions of `keys_values`, and none sees a
                later one.
            mask: (T, S) bool, which positions each of `x` sees; all if not given.
            visible: (batch, S) bool, which positions of each row of `keys_values` are there at
                all and no padding; at least one a row, all if not given.
            sizes: (batch, S) float, how many equal positions each of `keys_values` stands for, and
                weighs as many; one if not given.
            need_weights: also return the attention weights, at the price of the fused kernel.

        Returns:
            (rows, T, width), and the weights (rows, heads, T, S), each row summing to one, or
            None when they were not asked for.
        """
        keys, values = keys_values
        rows, length, _ = x.shape
        batch, context_length = keys.shape[0], keys.shape[2]
        if rows % batch or ((is_causal or mask is not None) and rows != batch):
            raise ValueError(f"{rows} rows of queries do not fit {batch} rows of keys and values")
        query = self._split(self.query(x).view(batch, rows // batch * length, -1))
        if is_causal and length > 1:
            mask = torch.ones(length, context_length, dtype=torch.bool, device=x.device)
            mask = mask.tril(context_length - length)
        if visible is not None:
            there = visible[:, None, None]  # (batch, 1, 1, S), for all heads and queries
            mask = there if mask is None else mask & there
        if sizes is not None:
            weight = sizes.log()[:, None, None]  # e^(score + log n) = n e^score
            mask = weight if mask is None else weight.masked_fill(~mask, float("-inf"))
        weights = None
        # the fused kernel's backward pass is slow on a CPU: a training step took 1.4 times as long
        slow = x.device.type == "cpu" and torch.is_grad_enabled()
        if need_weights or slow:
            scores = query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5
            if sizes is not None:
                scores = scores + mask
            elif mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            used = scores.softmax(dim=-1)
            if need_weights:
                # (batch, heads, group·T, S) -> (rows, heads, T, S), and back for the product: the
                # weights that are returned are the ones used, so gradients reach them.
                weights = used.unflatten(2, (-1, length)).transpose(1, 2).flatten(0, 1)
                used = weights.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)
            mixed = used @ values
        else:
            mixed = F.scaled_dot_product_attention(query, keys, values, mask)
        # (batch, heads, group·T, head_dim) -> (rows, T, width)
        mixed = mixed.transpose(1, 2).reshape(rows, length, -1)
        return self.output(mixed), weights

    def _split(self, x: Tensor) -> Tensor:
        # (B, S, width) -> (B, heads, S, head_dim)
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
