"""The translator: a text encoder of the same attention block, and the same decoder looking at it.

What the image encoder is to a caption, the text encoder is to a translation: the decoder's
cross-attention does not know whether it looks at patches or at the words of another language
(Vaswani et al. 2017, section 3.2.3, where cross-attention comes from).
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from model.network.attention import MultiHeadAttention
from model.network.cache import Cache
from model.network.decoder import TextDecoder
from model.network.initialisation import initialise_weights
from model.network.mlp import MLP, gelu_tanh
from model.translation.config import TranslatorConfig
from model.translation.tokenizer import TranslatorTokenizer


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


class TranslatorNetwork(nn.Module):
    """A text encoder and a text decoder with the tokenizer that both read.

    One matrix is the token embedding of the encoder, that of the decoder and the output head
    (Press and Wolf 2017). The decoder's first token says in which language it shall write.
    """

    def __init__(self, config: TranslatorConfig, tokenizer: TranslatorTokenizer):
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.encoder = TextEncoder(
            max_length=config.max_length,
            width=config.width,
            num_layers=config.num_encoder_layers,
            num_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            dropout=config.dropout,
        )
        self.decoder = TextDecoder(
            vocab_size=config.vocab_size,
            max_length=config.max_length,
            width=config.width,
            num_layers=config.num_decoder_layers,
            num_heads=config.num_heads,
            image_width=config.width,
            mlp_ratio=config.mlp_ratio,
            dropout=config.dropout,
        )
        self._initialise_for_few_sentences()

    def _initialise_for_few_sentences(self) -> None:
        """Larger weights than a captioner's: with GPT-2's the attention is all but uniform for the
        first thousand steps. Xavier-uniform for queries, keys and values (Glorot and Bengio 2010),
        and embeddings that give logits of deviation 1."""
        for module in self.modules():
            if isinstance(module, MultiHeadAttention):
                for projection in (module.query, module.key, module.value):
                    nn.init.xavier_uniform_(projection.weight)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.width**-0.5)

    @property
    def device(self) -> torch.device:
        return self.decoder.token_embedding.weight.device

    def look_at(self, sources: Tensor, visible: Tensor | None = None) -> Cache:
        """The decoder's cache before its first token, of source sentences.

        sources: (sentences, S) tokens, each sentence's followed by the end token and padding of
        any id. visible: (sentences, S) bool, false at the padding; None: there is none.
        """
        features = self.encoder(self.decoder.token_embedding(sources), visible)
        return self.decoder.look_at(features, visible)

    def read_sentences(self, sentences: Sequence[Sequence[int]]) -> Cache:
        """As `look_at`, of token lists without the end token, which may differ in length."""
        end = self.tokenizer.end
        rows = [torch.tensor([*tokens, end], device=self.device) for tokens in sentences]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        sources = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        visible = torch.arange(sources.shape[1], device=self.device) < lengths[:, None]
        return self.look_at(sources, None if visible.all() else visible)

    def forward(self, sources: Tensor, targets: Tensor, visible: Tensor | None = None) -> Tensor:
        """Logits (sentences, T, vocab_size) under teacher forcing, for training.

        sources, visible: see `look_at`. targets: (sentences, T), each beginning with the start
        token of its language.
        """
        return self.decoder(targets, self.look_at(sources, visible)).logits
