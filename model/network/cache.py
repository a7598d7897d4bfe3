"""What a decoder has read so far, as a value: keys and values of images and of tokens."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from model.network.attention import KeyValues


class LayerCache(NamedTuple):
    """One layer's keys and values: the image's, and those of the tokens so far (None at first)."""

    cross_attn: KeyValues
    self_attn: KeyValues | None = None


@dataclass(frozen=True, eq=False)  # == of tensors is no yes or no
class Cache:
    """The keys and values of all layers. Reading more tokens gives a new cache; this one stays.

    The rows of `self_attn` are hypotheses, those of `cross_attn` images. There may be several rows
    for each image, which follow one another and share its keys and values. A translator has source
    sentences for images.

    visible: (images, S) bool, which of the S context positions are no padding; None: all.
    """

    layers: tuple[LayerCache, ...]
    visible: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.layers[0].cross_attn.keys.device

    @property
    def num_images(self) -> int:
        return self.layers[0].cross_attn.keys.shape[0]

    @property
    def context_length(self) -> int:
        """The number of image tokens: prefix tokens and patches."""
        return self.layers[0].cross_attn.keys.shape[2]

    @property
    def length(self) -> int:
        """The number of tokens that were read."""
        tokens = self.layers[0].self_attn
        return 0 if tokens is None else tokens.keys.shape[2]

    def select(self, rows: list[int], images: list[int] | None = None) -> "Cache":
        """Keep these hypotheses (rows), and of the images only `images`, or all if None."""
        row_ids = self._ids(rows)
        image_ids = None if images is None else self._ids(images)
        visible = self.visible
        if visible is not None and image_ids is not None:
            visible = visible[image_ids]
        return Cache(
            tuple(
                LayerCache(
                    layer.cross_attn if image_ids is None else layer.cross_attn.select(image_ids),
                    None if layer.self_attn is None else layer.self_attn.select(row_ids),
                )
                for layer in self.layers
            ),
            visible,
        )

    def replace_images(self, key_values: list[KeyValues]) -> "Cache":
        """The same tokens with other keys and values of the images, one for each layer."""
        layers = zip(self.layers, key_values, strict=True)
        return replace(self, layers=tuple(layer._replace(cross_attn=kv) for layer, kv in layers))

    def _ids(self, numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self.device)
