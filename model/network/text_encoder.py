"""A text encoder of the same attention block: every token looks at every other, in both directions.

The translator reads source sentences with it, the captioner remembered captions.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from model.network.attention import MultiHeadAttention
from model.network.initialisation import initialise_weights
from model.network.mlp import MLP, gelu_tanh


class EncoderBlock(nn.Module):
    """One encoder layer: self-attention in both directions, then the MLP, each with its own norm
    and residual."""

    def __init__(self, width: int, num_heads: int, hidden_width: int, dropout: float):
        super().__init__()
        self.self_attn_norm = nn.LayerNorm(width)
        self.self_attn = MultiHeadAttention(width, num_heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden_width, gelu_tanh)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """x (B, S, width) -> the same shape. visible: (B, S) bool, false at padding."""
        normed = self.self_attn_norm(x)
        keys_values = self.self_attn.keys_values(normed)
        attended, _ = self.self_attn(normed, keys_values, visible=visible)
        x = x + self.dropout(attended)
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class TextEncoder(nn.Module):
    """Embedded tokens of a sentence in, one feature vector for each token out.

    Args:
        max_length: number of (learned) positions.
        width, num_layers, num_heads, mlp_ratio: size.
        dropout: after the embeddings, each attention and each MLP.
    """

    def __init__(
        self,
        *,
        max_length: int,
        width: int,
        num_layers: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.position_embedding = nn.Embedding(max_length, width)
        blocks = nn.ModuleList(
            EncoderBlock(width, num_heads, int(width * mlp_ratio), dropout)
            for _ in range(num_layers)
        )
        self.blocks = cast(Sequence[EncoderBlock], blocks)  # torch's list does not tell of what
        self.final_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        # a block adds twice: self-attention, MLP
        initialise_weights(self, 2 * num_layers)

    def forward(self, embedded: Tensor, visible: Tensor | None = None) -> Tensor:
        """Token embeddings (B, S, width) -> features of the same shape.

        visible: (B, S) bool, which positions are no padding; all if not given.

        Raises ValueError for more tokens than there are positions.
        """
        length = embedded.shape[1]
        if length > self.position_embedding.num_embeddings:
            raise ValueError(
                f"{length} tokens, but the encoder has {self.position_embedding.num_embeddings} "
                "positions"
            )
        x = self.dropout(embedded + self.position_embedding.weight[:length])
        for block in self.blocks:
            x = block(x, visible)
        return self.final_norm(x)


def pad_tokens(
    sentences: Sequence[Sequence[int]], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Token lists of different lengths as ids (sentences, S) and what is no padding there."""
    rows = [torch.tensor(tokens, dtype=torch.long, device=device) for tokens in sentences]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(ids.shape[1], device=device) < lengths[:, None]
