"""GIT's language model (Wang et al. 2022) behind the interface of our `TextDecoder`.

Photo and words are one sequence, as in `prompt_decoder`, but there is no prompt: the photo stands
first, its features see one another, and positions are counted from the first word.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GitForCausalLM
from transformers.models.git.modeling_git import GitSelfAttention

from model.network.cache import Cache, LayerCache
from model.network.photo_attention import attend
from model.network.prompt_decoder import OneSequenceDecoder
from model.network.transformers_decoder import read_layers


class GitDecoder(OneSequenceDecoder):
    """As `TextDecoder`, around a GIT, whose attention becomes one that gives the photo's part."""

    def __init__(self, network: GitForCausalLM):
        super().__init__(network, network.config.max_position_embeddings)
        self.git = network.git
        for module in self.git.encoder.modules():
            if isinstance(module, GitSelfAttention):
                module.__class__ = _LookingAttention  # its weights stay

    def look_at(self, image_features: Tensor) -> Cache:
        """See `TextDecoder.look_at`."""
        read = DynamicCache()
        features = self.git.visual_projection(image_features)
        self.git.encoder(features, **{self._cache_name: read})
        return Cache(tuple(map(LayerCache, read_layers(read))))

    def _describe_words(self, positions: Tensor, rows: int, seen: int) -> dict[str, Any]:
        # the network would count positions from the photo's first feature
        return {"position_ids": positions.expand(rows, -1), "photo_length": seen}


class _LookingAttention(GitSelfAttention):
    """As transformers', but of its weights those on the photo are given; see `photo_attention`."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        cache: DynamicCache | None = None,
        photo_length: int = 0,
        **_: object,
    ) -> tuple[Tensor, Tensor]:
        """hidden_states (rows, T, width) -> the same shape, and (rows, heads, T, photo_length)."""
        query, key, value = (
            part(hidden_states).unflatten(2, (-1, self.attention_head_size)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        columns = torch.arange(photo_length, device=key.device)
        scaling = self.attention_head_size**-0.5
        attended, weights = attend(query, key, value, attention_mask, scaling, columns)
        return attended.flatten(2), weights
