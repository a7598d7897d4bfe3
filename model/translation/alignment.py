"""Which words of the source each word of a translation looked at."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.network.tokenizer import Word
from model.search.caption import CaptionWord
from model.translation.network import TranslatorNetwork


@torch.inference_mode()
def align_words(
    network: TranslatorNetwork,
    source: Sequence[int],
    source_words: Sequence[Word],
    start: int,
    tokens: Sequence[int],
    words: Sequence[CaptionWord],
) -> NDArray[np.float32]:
    """The cross-attention of a finished translation, replayed once: (target words, source words)
    float32, rows sum to one.

    The weights are those of the mean over all layers and heads. A source word has the sum over its
    tokens, a target word the mean over its own; what fell on the source's end token is left out.

    source: tokens of the source, without the end token; start: the token of the language; tokens:
    of the translation, the end token last, if it is there.
    """
    read = torch.tensor([[start, *tokens[:-1]]], device=network.device)
    output = network.decoder(read, network.read_sentences([source]), need_weights=True)
    assert output.cross_attn_weights is not None
    weights = torch.stack(output.cross_attn_weights).mean(dim=(0, 2))[0].cpu()  # (T, S)
    of_source = [weights[:, word.start : word.stop].sum(dim=1) for word in source_words]
    by_word = torch.stack(of_source, dim=1)  # (T, source words)
    if not words:
        return np.zeros((0, len(source_words)), dtype=np.float32)
    # the row at position t chose token t
    rows = torch.stack([by_word[word.start : word.stop].mean(dim=0) for word in words])
    rows = rows / rows.sum(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return rows.numpy()
