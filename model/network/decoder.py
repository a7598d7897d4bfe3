"""The text decoder: a small GPT-2 whose blocks also look at the image.

Pre-norm blocks in GPT-2's order: self-attention over the words so far, cross-attention to the
image, MLP; learned positions; the output head shares the token embedding's matrix (Radford et al.
2019; Press and Wolf 2017 for the tied head).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from model.network.attention import KeyValues, MultiHeadAttention
from model.network.cache import Cache, LayerCache
from model.network.initialisation import initialise_weights
from model.network.linear import multiply
from model.network.mlp import MLP, gelu_tanh


class TokenTree(NamedTuple):
    """Tokens that do not follow one another but continue the same text at several places, so that
    one pass rates many continuations.

    positions: (T,) where each token stands.
    mask: (T, cached + T) bool, which tokens each sees: of those in the cache, then of the new.
    """

    positions: Tensor
    mask: Tensor

    @classmethod
    def branches(cls, positions: Tensor, cached: int) -> "TokenTree":
        """Each token sees the cached text before its own position, and itself."""
        text = torch.arange(cached, device=positions.device) < positions[:, None]
        own = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
        return cls(positions, torch.cat([text, own], dim=1))


def compute_positions(
    tokens: Tensor, cache: Cache, max_length: int, tree: TokenTree | None = None
) -> Tensor:
    """Where the tokens (rows, T) stand: behind those in the cache, unless a tree says otherwise.

    Raises ValueError when they do not fit into `max_length` positions.
    """
    if tree is None:
        stop = cache.length + tokens.shape[1]
        positions = torch.arange(cache.length, stop, device=tokens.device)
    else:
        positions, stop = tree.positions, int(tree.positions.max()) + 1
    if stop > max_length:
        raise ValueError(f"{stop} tokens, but the decoder has {max_length} positions")
    return positions


class DecoderOutput(NamedTuple):
    """What one pass of the decoder gives.

    logits: (rows, T, vocab_size); the row at position t rates the token at t + 1.
    cache: to be passed in with the next tokens.
    cross_attn_weights: for each layer (rows, heads, T, S) over the S image tokens, or None.
    self_attn_weights: for each layer (rows, heads, T, cached + T) over the tokens, those of the
        cache first; None as above, and where a decoder does not give them.
    """

    logits: Tensor
    cache: Cache
    cross_attn_weights: tuple[Tensor, ...] | None
    self_attn_weights: tuple[Tensor, ...] | None = None


class Decoder(Protocol):
    """What search and explanation need of a text decoder, ours or one of transformers'.

    max_length: number of positions.
    num_forced_tokens: tokens that every caption begins with and that count in its length, but are
        not among its tokens.
    has_cross_attention: whether photo and text are two sequences, not one.
    """

    max_length: int
    num_forced_tokens: int
    has_cross_attention: bool

    def look_at(self, image_features: Tensor) -> Cache:
        """The cache before the first token, of image features (images, S, image_width)."""

    def __call__(
        self,
        tokens: Tensor,
        cache: Cache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> DecoderOutput:
        """Read more tokens (rows, T); see `TextDecoder.forward`."""


class Block(nn.Module):
    """One decoder layer; each of its three parts has its own norm and residual."""

    def __init__(
        self, width: int, num_heads: int, context_width: int, hidden_width: int, dropout: float
    ):
        super().__init__()
        self.self_attn_norm = nn.LayerNorm(width)
        self.self_attn = MultiHeadAttention(width, num_heads)
        self.cross_attn_norm = nn.LayerNorm(width)
        self.cross_attn = MultiHeadAttention(width, num_heads, context_width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden_width, gelu_tanh)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        cache: LayerCache,
        need_weights: bool = False,
        mask: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> tuple[Tensor, LayerCache, Tensor | None, Tensor | None]:
        """x (rows, T, width) -> the same shape, the longer cache, and the weights of the
        self-attention (rows, heads, T, cached + T) and of the cross-attention (rows, heads, T, S).

        mask: see `TokenTree`; causal if not given. visible: see `Cache`.
        """
        x, text, text_weights = self.attend_to_text(x, cache.self_attn, mask, need_weights)
        attended, weights = self.cross_attn(
            self.cross_attn_norm(x), cache.cross_attn, visible=visible, need_weights=need_weights
        )
        x = x + self.dropout(attended)
        x = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return x, cache._replace(self_attn=text), text_weights, weights

    def attend_to_text(
        self,
        x: Tensor,
        earlier: KeyValues | None,
        mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, KeyValues, Tensor | None]:
        """The first of the three parts: x (rows, T, width) after the self-attention, the keys and
        values of all tokens, those of the `earlier` ones first, and the weights if needed."""
        normed = self.self_attn_norm(x)
        text = self.self_attn.keys_values(normed)
        if earlier is not None:
            text = earlier.append(text)
        attended, weights = self.self_attn(
            normed, text, is_causal=mask is None, mask=mask, need_weights=need_weights
        )
        return x + self.dropout(attended), text, weights


class TextDecoder(nn.Module):
    """Tokens and an image's features in, logits for the next token out.

    Args:
        vocab_size, max_length: number of tokens known, and of positions.
        width, num_layers, num_heads, mlp_ratio: size of the text side.
        image_width: width of the image features.
        project_image: bring the features to `width` with one shared linear layer before the
            layers' own key and value projections (as VisionEncoderDecoderModel does).
        dropout: after the embeddings, each attention and each MLP.
    """

    has_cross_attention = True

    def __init__(
        self,
        *,
        vocab_size: int,
        max_length: int,
        width: int,
        num_layers: int,
        num_heads: int,
        image_width: int,
        mlp_ratio: float = 4.0,
        project_image: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.max_length, self.num_forced_tokens = max_length, 0
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(max_length, width)
        self.image_projection = nn.Linear(image_width, width) if project_image else nn.Identity()
        context_width = width if project_image else image_width
        blocks = nn.ModuleList(
            Block(width, num_heads, context_width, int(width * mlp_ratio), dropout)
            for _ in range(num_layers)
        )
        self.blocks = cast(Sequence[Block], blocks)  # torch's list does not tell of what
        self.final_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        # a block adds three times: self-attention, cross-attention, MLP
        initialise_weights(self, 3 * num_layers)

    def look_at(self, image_features: Tensor, visible: Tensor | None = None) -> Cache:
        """The cache before the first token: each layer's keys and values of the image.

        image_features: (images, S, image_width). Done once per image, whatever the number of
        captions, beams or tokens. visible: see `Cache`.
        """
        context = self.image_projection(image_features)
        return Cache(
            tuple(LayerCache(block.cross_attn.keys_values(context)) for block in self.blocks),
            visible,
        )

    def forward(
        self,
        tokens: Tensor,
        cache: Cache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> DecoderOutput:
        """Read more tokens.

        Args:
            tokens: (rows, T) ids that follow those in the cache. `rows` may be a multiple of
                the number of images in the cache; rows of one image are consecutive.
            cache: from `look_at`, or from the output of the tokens before.
            need_weights: also return the weights of both attentions.
            tree: how the tokens hang together, if they do not follow one another.

        Raises ValueError when the tokens do not fit into `max_length` positions.
        """
        mask = None if tree is None else tree.mask
        x = self.embed(tokens, compute_positions(tokens, cache, self.max_length, tree))
        layers, text_weights, weights = [], [], []
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            x, layer, on_text, on_image = block(x, layer, need_weights, mask, cache.visible)
            layers.append(layer)
            text_weights.append(on_text)
            weights.append(on_image)
        logits = multiply(self.final_norm(x), self.token_embedding.weight)
        cache = replace(cache, layers=tuple(layers))
        if not need_weights:
            return DecoderOutput(logits, cache, None)
        return DecoderOutput(logits, cache, tuple(weights), tuple(text_weights))

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """What the first block reads: tokens (rows, T) at positions (T,) -> (rows, T, width)."""
        return self.dropout(self.token_embedding(tokens) + self.position_embedding(positions))
