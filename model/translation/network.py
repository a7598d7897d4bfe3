"""The translator: a text encoder of the same attention block, and the same decoder looking at it.

What the image encoder is to a caption, the text encoder is to a translation: the decoder's
cross-attention does not know whether it looks at patches or at the words of another language
(Vaswani et al. 2017, section 3.2.3, where cross-attention comes from).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.network.attention import MultiHeadAttention
from model.network.cache import Cache
from model.network.decoder import TextDecoder
from model.network.text_encoder import TextEncoder, pad_tokens
from model.translation.config import TranslatorConfig
from model.translation.tokenizer import TranslatorTokenizer


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
        ended = [[*tokens, self.tokenizer.end] for tokens in sentences]
        sources, visible = pad_tokens(ended, self.device)
        return self.look_at(sources, None if visible.all() else visible)

    def forward(self, sources: Tensor, targets: Tensor, visible: Tensor | None = None) -> Tensor:
        """Logits (sentences, T, vocab_size) under teacher forcing, for training.

        sources, visible: see `look_at`. targets: (sentences, T), each beginning with the start
        token of its language.
        """
        return self.decoder(targets, self.look_at(sources, visible)).logits
