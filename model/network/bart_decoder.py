"""Florence-2's half that reads and writes text, behind the interface of our `TextDecoder`.

A BART (Lewis et al. 2020): its encoder reads the photo's features and the prompt as one sequence,
its decoder looks at what comes out. That is true cross-attention, but the encoder has mixed the
columns by then: each stands for its place in the photo, not for its patch alone.
"""

import inspect
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    Florence2ForConditionalGeneration,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.bart.modeling_bart import BartLearnedPositionalEmbedding

from model.network.attention import KeyValues
from model.network.cache import Cache, LayerCache
from model.network.decoder import DecoderOutput, TokenTree, compute_positions
from model.network.photo_attention import LOOKING, build_float_mask
from model.network.transformers_decoder import read_layers, repeat_contexts


class _NoPositions(nn.Module):
    """Stands where BART's decoder adds its positions: it counts them from the length of the cache,
    which is wrong in a token tree, so they are added before."""

    def forward(self, *_: object, **__: object) -> Tensor:
        return torch.zeros(())


class BartDecoder(nn.Module):
    """As `TextDecoder`, around Florence-2.

    Every caption follows </s> and <s>. The second is our start token; the first is read in
    `look_at`, and its keys and values stand behind the photo's and the prompt's in the cache.

    Args:
        network: whose decoder becomes one that is told the positions.
        photo_length: number of the photo's features.
        prompt: the ids of the prompt's tokens, which stand behind the photo.
        first: the token before the start token.
        positions: the decoder's, which may have been another's before.
    """

    num_forced_tokens = 1  # transformers counts <s> in a caption's length
    has_cross_attention = True

    def __init__(
        self,
        network: Florence2ForConditionalGeneration,
        photo_length: int,
        prompt: list[int],
        first: int,
        positions: BartLearnedPositionalEmbedding | None = None,
    ):
        super().__init__()
        self.network, self._first = network, first
        self.prompt: Tensor
        self.register_buffer("prompt", torch.tensor(prompt), persistent=False)
        decoder = cast(Any, network.model.language_model).decoder
        table: BartLearnedPositionalEmbedding = positions or decoder.embed_positions
        self.positions, self._offset = table, table.offset
        self.max_length: int = table.num_embeddings - self._offset - 1
        accepted = inspect.signature(type(decoder).forward).parameters
        # transformers renamed it in 5.24
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"
        if positions is None:
            decoder.embed_positions = _NoPositions()
            cast(PreTrainedModel, network.model.language_model).set_attn_implementation(LOOKING)
            for layer in decoder.layers:
                columns = torch.arange(photo_length)
                layer.encoder_attn.register_buffer("photo_columns", columns, persistent=False)

    def look_at(self, image_features: Tensor) -> Cache:
        """See `TextDecoder.look_at`: the encoder reads the photo and the prompt."""
        embed = cast(nn.Embedding, self.network.get_input_embeddings())
        prompt = embed(self.prompt).expand(len(image_features), -1, -1)
        read = cast(Any, self.network.model.language_model).encoder(
            inputs_embeds=torch.cat([image_features, prompt], 1)
        )
        first = torch.full((len(image_features), 1), self._first, device=image_features.device)
        words, context = DynamicCache(), DynamicCache()
        both = EncoderDecoderCache(words, context)
        self._run_decoder(first, read.last_hidden_state, both, first[0] * 0)
        pairs = zip(read_layers(context), read_layers(words), strict=True)
        return Cache(tuple(LayerCache(looked_at.append(first)) for looked_at, first in pairs))

    def forward(
        self,
        tokens: Tensor,
        cache: Cache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> DecoderOutput:
        """See `TextDecoder.forward`. Of the words' weights on each other nothing is given."""
        places = compute_positions(tokens, cache, self.max_length, tree) + 1
        rows, seen = len(tokens), cache.context_length - 1
        words, context = DynamicCache(), DynamicCache()
        contexts = repeat_contexts(cache, rows)
        for number, (layer, (keys, values)) in enumerate(zip(cache.layers, contexts, strict=True)):
            context.update(keys[:, :, :seen], values[:, :, :seen], number)
            first = KeyValues(keys[:, :, seen:], values[:, :, seen:])
            words.update(*(first.append(layer.self_attn) if layer.self_attn else first), number)
        # the context is in the cache already; this only says that there is one
        anything = cache.layers[0].cross_attn.keys.new_zeros(1).expand(rows, seen, 1)
        mask = None
        if tree is not None:
            visible = torch.cat([tree.mask.new_ones(len(tree.mask), 1), tree.mask], dim=1)
            mask = build_float_mask(visible, rows, anything.dtype)
        both = EncoderDecoderCache(words, context)
        output = self._run_decoder(tokens, anything, both, places, mask, need_weights)
        longer = tuple(
            layer._replace(self_attn=KeyValues(read.keys[:, :, 1:], read.values[:, :, 1:]))
            for layer, read in zip(cache.layers, read_layers(words), strict=True)
        )
        logits = self.network.lm_head(output.last_hidden_state)
        return DecoderOutput(
            logits, Cache(longer), output.cross_attentions if need_weights else None
        )

    def _run_decoder(
        self,
        tokens: Tensor,
        context: Tensor,
        both: EncoderDecoderCache,
        places: Tensor,
        mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """transformers' output for tokens (rows, T), which `both` caches then hold too."""
        decoder = cast(Any, self.network.model.language_model).decoder
        # the class's own forward would count from the cache
        where = nn.functional.embedding(places + self._offset, self.positions.weight)
        return decoder(
            inputs_embeds=decoder.embed_tokens(tokens) + where,
            attention_mask=mask,
            encoder_hidden_states=context,
            output_attentions=need_weights,
            use_cache=True,
            **{self._cache_name: both},
        )
