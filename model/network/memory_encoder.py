"""Remembered captions as what the decoder looks at beside the photo's patches.

The decoder's cross-attention does not know what it looks at. Captions of similar photos, encoded by
a small text encoder, stand behind the patches in the same context, under the same softmax (Ramos et
al. 2023, "SmallCap", gave such captions to a decoder as its beginning instead).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.network.text_encoder import TextEncoder
from model.network.tokenizer import Word


class RememberedCaption(NamedTuple):
    """A caption of a remembered photo as the network reads it.

    tokens: without start and end. words: as `CaptionTokenizer.encode` gives them.
    """

    photo: str
    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]


class MemoryEncoder(nn.Module):
    """Embedded captions in, features as wide as the image's out, with a learned mark that tells
    them apart from patches.

    Each caption is encoded by itself, so that their order does not matter.
    """

    def __init__(
        self,
        *,
        max_length: int,
        width: int,
        num_layers: int,
        num_heads: int,
        image_width: int,
        mlp_ratio: float,
        dropout: float,
    ):
        super().__init__()
        self.text_encoder = TextEncoder(
            max_length=max_length,
            width=width,
            num_layers=num_layers,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
        )
        self.projection = nn.Linear(width, image_width)
        self.mark = nn.Parameter(torch.zeros(image_width))

    def forward(self, embedded: Tensor, visible: Tensor) -> Tensor:
        """Token embeddings (captions, S, width) -> features (captions, S, image_width).

        visible: (captions, S) bool, false at padding.
        """
        return self.projection(self.text_encoder(embedded, visible)) + self.mark


def stack_contexts(contexts: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """What several photos' decoder looks at, (S, image_width) each, as one batch (B, S,
    image_width), and `visible` (B, S) where their lengths differ, else None."""
    lengths = torch.tensor([len(context) for context in contexts], device=contexts[0].device)
    if (lengths == lengths[0]).all():
        return torch.stack(list(contexts)), None
    stacked = nn.utils.rnn.pad_sequence(list(contexts), batch_first=True)
    positions = torch.arange(stacked.shape[1], device=stacked.device)
    return stacked, positions < lengths[:, None]
