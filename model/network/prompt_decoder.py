"""Decoder-only language models of transformers that hold the photo in their prompt, behind the
interface of our `TextDecoder`: our search, maps and runners-up then work on them unchanged.

They have no cross-attention. Photo, question and answer are one sequence, and every token looks at
those before it. Of this self-attention the part from the words to the photo's positions is taken:
queries from the sequence's end, keys and values from its beginning. What a word gives to the rest,
the question and the words before it, is left out, so the weights of a row sum to less than 1.

Slower than ours: attention is never fused, since only the plain one gives weights, and the prompt's
keys and values are copied for every hypothesis.
"""

import inspect
from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from model.errors import OptionError
from model.network.attention import KeyValues
from model.network.cache import Cache, LayerCache
from model.network.decoder import DecoderOutput, TokenTree, compute_positions
from model.network.photo_attention import LOOKING, build_float_mask
from model.network.transformers_decoder import read_layers, repeat_contexts


class OneSequenceDecoder(nn.Module, ABC):
    """As `TextDecoder`, around a language model that reads the photo and the words as one sequence.

    Args:
        network: takes `input_ids` and a cache.
        max_length: number of positions, the photo's not among them.
    """

    has_cross_attention = False

    def __init__(self, network: PreTrainedModel, max_length: int):
        super().__init__()
        self.network, self.max_length, self.num_forced_tokens = network, max_length, 0
        accepted = inspect.signature(network.forward).parameters
        # transformers renamed it in 5.24
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"

    @abstractmethod
    def look_at(self, image_features: Tensor) -> Cache:
        """See `TextDecoder.look_at`."""

    def _describe_words(self, positions: Tensor, rows: int, seen: int) -> dict[str, Any]:
        """What the network must be told of rows of words beside their tokens.

        positions: (T,), counted from the first word.
        seen: number of tokens before that, the photo's among them.
        """
        return {"position_ids": (positions + seen).expand(rows, -1)}

    def forward(
        self,
        tokens: Tensor,
        cache: Cache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> DecoderOutput:
        """See `TextDecoder.forward`. Of the words' weights on each other nothing is given."""
        positions = compute_positions(tokens, cache, self.max_length, tree)
        rows, seen = len(tokens), cache.context_length
        both = DynamicCache()
        prompts = repeat_contexts(cache, rows)
        for number, (layer, prompt) in enumerate(zip(cache.layers, prompts, strict=True)):
            both.update(*(prompt.append(layer.self_attn) if layer.self_attn else prompt), number)
        arguments: dict[str, Any] = {self._cache_name: both}
        if tree is not None:
            mask = torch.cat([tree.mask.new_ones(len(tree.mask), seen), tree.mask], dim=1)
            dtype = cache.layers[0].cross_attn.keys.dtype
            arguments["attention_mask"] = build_float_mask(mask, rows, dtype)
        output = self.network(
            input_ids=tokens,
            output_attentions=need_weights,
            use_cache=True,
            **arguments,
            **self._describe_words(positions, rows, seen),
        )
        longer = tuple(
            layer._replace(self_attn=KeyValues(read.keys[:, :, seen:], read.values[:, :, seen:]))
            for layer, read in zip(cache.layers, read_layers(both), strict=True)
        )
        weights = output.attentions if need_weights else None
        return DecoderOutput(cast(Tensor, output.logits), Cache(longer), weights)


class PromptDecoder(OneSequenceDecoder):
    """As `TextDecoder`, around a language model whose prompt holds the photo.

    The prompt, less its last token, is what the cache keeps as the image. The last token is the
    start token: it is read again with the words.

    Args:
        network: takes `inputs_embeds`, and has a `language_model`.
        prompt: the ids of its tokens, one placeholder for each of the photo's features.
        placeholder: the placeholder's id.
        max_length: number of positions, the prompt's not among them.
        num_last_tokens: of a photo's features, how many of the first stand behind the others.

    Attributes:
        start: the prompt's last token.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        prompt: list[int],
        placeholder: int,
        max_length: int,
        num_last_tokens: int = 0,
    ):
        super().__init__(network, max_length)
        self.start = prompt[-1]
        self.prompt: Tensor
        self.register_buffer("prompt", torch.tensor(prompt), persistent=False)
        columns = self.prompt.eq(placeholder).nonzero()[:, 0].roll(num_last_tokens)
        self.columns: Tensor
        self.register_buffer("columns", columns, persistent=False)
        language_model = cast(
            PreTrainedModel, cast(PreTrainedModel, network.base_model).get_decoder()
        )
        language_model.set_attn_implementation(LOOKING)
        for module in language_model.modules():
            if hasattr(module, "layer_idx") and hasattr(module, "scaling"):
                earlier = getattr(module, "photo_columns", None)  # of the same model's other prompt
                if earlier is None:
                    module.register_buffer("photo_columns", columns.clone(), persistent=False)
                elif not torch.equal(earlier.cpu(), columns):
                    raise OptionError(
                        "the photo stands behind the prompt here: it cannot be changed"
                    )

    def look_at(self, image_features: Tensor) -> Cache:
        """See `TextDecoder.look_at`: the whole prompt is read, with the photo in it."""
        ids = self.prompt.expand(len(image_features), -1)  # (images, P)
        read = DynamicCache()
        self._read_prompt(ids, image_features, read)
        return Cache(
            tuple(
                LayerCache(KeyValues(layer.keys[:, :, :-1], layer.values[:, :, :-1]))
                for layer in read_layers(read)
            )
        )

    def _read_prompt(self, ids: Tensor, image_features: Tensor, read: DynamicCache) -> None:
        """Let the network read prompts (images, P) into its cache."""
        self.network(
            inputs_embeds=self._embed_prompt(ids, image_features),
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_name: read},
            **self._describe_prompt(ids),
        )

    def _embed_prompt(self, ids: Tensor, image_features: Tensor) -> Tensor:
        """Embeddings (images, P, width) with the photos' features in their places."""
        embed = cast(nn.Embedding, self.network.get_input_embeddings())
        embeddings = embed(ids.index_fill(1, self.columns, 0))
        return embeddings.index_copy(1, self.columns, image_features)

    def _describe_prompt(self, ids: Tensor) -> dict[str, Tensor]:
        """What the network must be told of a prompt (images, P) beside its embeddings."""
        return {}
