"""Text decoders of transformers behind the interface of our `TextDecoder`, for captioners whose
architecture is not ours: our search, maps and runners-up then work on them unchanged.

Slower than ours: attention is never fused, since only the eager one gives weights, and the image's
keys and values are copied for every hypothesis.
"""

import inspect
from typing import cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from model.network.attention import KeyValues
from model.network.cache import Cache, LayerCache
from model.network.decoder import DecoderOutput, TokenTree, compute_positions
from model.network.photo_attention import build_float_mask


class TransformersDecoder(nn.Module):
    """As `TextDecoder`, around a causal language model with cross-attention.

    Args:
        network: takes `encoder_hidden_states` and gives `cross_attentions`.
        max_length: number of positions.
        image_projection: what the image features go through first, if anything.
    """

    has_cross_attention = True

    def __init__(
        self, network: PreTrainedModel, max_length: int, image_projection: nn.Module | None = None
    ):
        super().__init__()
        network.set_attn_implementation("eager")
        self.network = network
        self.max_length, self.num_forced_tokens = max_length, 0
        self.image_projection = image_projection or nn.Identity()
        accepted = inspect.signature(network.forward).parameters
        # transformers renamed it in 5.24
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"
        # RoBERTa's count from behind the padding's
        roberta = network.config.model_type == "roberta"
        self._first_position = network.config.pad_token_id + 1 if roberta else 0
        # BLIP's reads in both directions unless each call says so
        self._arguments = {"is_decoder": True} if "is_decoder" in accepted else {}

    def look_at(self, image_features: Tensor) -> Cache:
        """See `TextDecoder.look_at`. transformers projects the image while it reads a token, so
        one is read and forgotten."""
        context = self.image_projection(image_features)
        image = DynamicCache()
        both = EncoderDecoderCache(DynamicCache(), image)
        any_token = torch.zeros(len(context), 1, dtype=torch.long, device=context.device)
        self._run_decoder(any_token, context, both)
        return Cache(tuple(map(LayerCache, read_layers(image))))

    def forward(
        self,
        tokens: Tensor,
        cache: Cache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> DecoderOutput:
        """See `TextDecoder.forward`."""
        compute_positions(tokens, cache, self.max_length, tree)
        rows = len(tokens)
        words, image = DynamicCache(), DynamicCache()
        contexts = repeat_contexts(cache, rows)
        for number, (layer, looked_at) in enumerate(zip(cache.layers, contexts, strict=True)):
            image.update(*looked_at, number)
            if layer.self_attn is not None:
                words.update(*layer.self_attn, number)
        # the image is in the cache already; this only says that there is one, and takes no memory
        any_keys = cache.layers[0].cross_attn.keys
        context = any_keys.new_zeros(1).expand(rows, cache.context_length, 1)
        both = EncoderDecoderCache(words, image)
        output = self._run_decoder(tokens, context, both, need_weights, tree)
        longer = Cache(
            tuple(
                layer._replace(self_attn=keys_values)
                for layer, keys_values in zip(cache.layers, read_layers(words), strict=True)
            )
        )
        logits = cast(Tensor, output.logits)
        if not need_weights:
            return DecoderOutput(logits, longer, None)
        return DecoderOutput(logits, longer, output.cross_attentions, output.attentions)

    def _run_decoder(
        self,
        tokens: Tensor,
        context: Tensor,
        both: EncoderDecoderCache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """transformers' output for tokens (rows, T), which `both` caches then hold too."""
        places = {}
        if tree is not None:
            places = {
                "position_ids": (tree.positions + self._first_position)[None],
                "attention_mask": build_float_mask(tree.mask, len(tokens), context.dtype),
            }
        return self.network(
            input_ids=tokens,
            encoder_hidden_states=context,
            output_attentions=need_weights,
            use_cache=True,
            **{self._cache_name: both},
            **self._arguments,
            **places,
        )


def repeat_contexts(cache: Cache, num_rows: int) -> list[KeyValues]:
    """What each layer looks at, once for each row of tokens.

    Raises ValueError where the images have not equally many rows.
    """
    if num_rows % cache.num_images:
        raise ValueError(f"{num_rows} rows of tokens do not fit {cache.num_images} images")
    count = num_rows // cache.num_images
    return [
        KeyValues(*(x.repeat_interleave(count, 0) for x in layer.cross_attn))
        for layer in cache.layers
    ]


def read_layers(cache: DynamicCache) -> list[KeyValues]:
    """What each layer of transformers' cache holds once tokens were read."""
    layers = cast(list[CacheLayerMixin], cache.layers)
    return [KeyValues(cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers]
