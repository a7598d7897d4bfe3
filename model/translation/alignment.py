"""Which words of the source each word of a translation looked at."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.network.tokenizer import Word
from model.search.caption import CaptionWord
from model.translation.network import TranslatorNetwork


@torch.inference_mode()
def weigh_words(
    network: TranslatorNetwork,
    source: Sequence[int],
    source_words: Sequence[Word],
    start: int,
    tokens: Sequence[int],
    words: Sequence[CaptionWord],
) -> NDArray[np.float32]:
    """The cross-attention of a finished translation, replayed once, word by word: (layers, heads,
    target words, source words) float32.

    A source word has the sum over its tokens, a target word the mean over its own. Rows sum to less
    than one: the rest fell on the source's end token.

    source: tokens of the source, without the end token; start: the token of the language; tokens:
    of the translation, the end token last, if it is there.
    """
    config = network.config
    if not words:
        shape = (config.num_decoder_layers, config.num_heads, 0, len(source_words))
        return np.zeros(shape, dtype=np.float32)
    read = torch.tensor([[start, *tokens[:-1]]], device=network.device)
    output = network.decoder(read, network.read_sentences([source]), need_weights=True)
    assert output.cross_attn_weights is not None
    weights = torch.cat(output.cross_attn_weights)  # (layers, heads, T, S)
    of_source = [weights[..., word.start : word.stop].sum(dim=-1) for word in source_words]
    by_source = torch.stack(of_source, dim=-1)  # (layers, heads, T, source words)
    # the row at position t chose token t
    rows = [by_source[:, :, word.start : word.stop].mean(dim=2) for word in words]
    return torch.stack(rows, dim=2).cpu().numpy()


def choose_heads(
    weights: NDArray[np.float32], layer: int | None, head: int | None
) -> NDArray[np.float32]:
    """The alignment of one layer and head, None: the mean over all: (target words, source words),
    rows sum to one.

    weights: of `weigh_words`.
    """
    layers = weights if layer is None else weights[layer : layer + 1]
    heads = layers if head is None else layers[:, head : head + 1]
    rows = heads.mean(axis=(0, 1))
    return rows / np.maximum(rows.sum(axis=1, keepdims=True), np.finfo(rows.dtype).tiny)
