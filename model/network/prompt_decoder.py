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
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from model.network.attention import KeyValues
from model.network.cache import Cache, LayerCache
from model.network.decoder import DecoderOutput, TokenTree, compute_positions
from model.network.transformers_decoder import read_layers

LOOKING = "looking"  # the name of `attend_and_look` among transformers' attention functions


def attend_and_look(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """As transformers' eager attention, but of the weights only the photo's columns are given.

    They are cut out and put back before the values are summed: a copy that nothing is computed
    from would have no gradient.

    query: (rows, heads, T, head_dim); key, value: (rows, key heads, S, head_dim). Returns
    (rows, T, heads, head_dim) and (rows, heads, T, photo's columns).
    """
    groups = query.shape[1] // key.shape[1]  # heads that share a key head (Ainslie et al. 2023)
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.float().softmax(-1).to(query.dtype)
    columns = cast(Tensor, module.photo_columns)
    photo = weights[..., columns]
    attended = weights.index_copy(-1, columns, photo) @ value
    return attended.transpose(1, 2).contiguous(), photo


AttentionInterface.register(LOOKING, attend_and_look)
AttentionMaskInterface.register(LOOKING, eager_mask)


class PromptDecoder(nn.Module):
    """As `TextDecoder`, around a language model whose prompt holds the photo.

    The prompt, less its last token, is what the cache keeps as the image. The last token is the
    start token: it is read again with the words.

    Args:
        network: takes `inputs_embeds`, and has a `language_model`.
        prompt: the ids of its tokens, one placeholder for each of the photo's features.
        placeholder: the placeholder's id.
        max_length: number of positions, the prompt's not among them.

    Attributes:
        start: the prompt's last token.
    """

    def __init__(
        self, network: PreTrainedModel, prompt: list[int], placeholder: int, max_length: int
    ):
        super().__init__()
        self.network, self.max_length, self.start = network, max_length, prompt[-1]
        self._placeholder = placeholder
        self.prompt: Tensor
        self.register_buffer("prompt", torch.tensor(prompt), persistent=False)
        columns = self.prompt.eq(placeholder).nonzero()[:, 0]
        language_model = cast(
            PreTrainedModel, cast(PreTrainedModel, network.base_model).get_decoder()
        )
        language_model.set_attn_implementation(LOOKING)
        for module in language_model.modules():
            if hasattr(module, "layer_idx") and hasattr(module, "scaling"):
                module.register_buffer("photo_columns", columns, persistent=False)
        accepted = inspect.signature(network.forward).parameters
        # transformers renamed it in 5.24
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"

    def look_at(self, image_features: Tensor) -> Cache:
        """See `TextDecoder.look_at`: the whole prompt is read, with the photo in it."""
        ids = self.prompt.expand(len(image_features), -1)  # (images, P)
        is_photo = ids.eq(self._placeholder)
        embed = cast(nn.Embedding, self.network.get_input_embeddings())
        embeddings = embed(ids.masked_fill(is_photo, 0))
        embeddings = embeddings.masked_scatter(is_photo[..., None], image_features)
        read = DynamicCache()
        self.network(
            inputs_embeds=embeddings, use_cache=True, logits_to_keep=1, **{self._cache_name: read}
        )
        return Cache(
            tuple(
                LayerCache(KeyValues(layer.keys[:, :, :-1], layer.values[:, :, :-1]))
                for layer in read_layers(read)
            )
        )

    def forward(
        self,
        tokens: Tensor,
        cache: Cache,
        need_weights: bool = False,
        tree: TokenTree | None = None,
    ) -> DecoderOutput:
        """See `TextDecoder.forward`. Of the words' weights on each other nothing is given."""
        positions = compute_positions(tokens, cache, self.max_length, tree)
        rows, images, seen = len(tokens), cache.num_images, cache.context_length
        if rows % images:
            raise ValueError(f"{rows} rows of tokens do not fit {images} images")
        both = DynamicCache()
        for number, layer in enumerate(cache.layers):
            prompt = KeyValues(*(x.repeat_interleave(rows // images, 0) for x in layer.cross_attn))
            both.update(*(prompt.append(layer.self_attn) if layer.self_attn else prompt), number)
        arguments: dict[str, Any] = {self._cache_name: both}
        if tree is not None:
            mask = torch.cat([tree.mask.new_ones(len(tree.mask), seen), tree.mask], dim=1)
            dtype = cache.layers[0].cross_attn.keys.dtype
            hidden = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
            hidden.masked_fill_(~mask, torch.finfo(dtype).min)
            arguments["attention_mask"] = hidden.expand(rows, 1, -1, -1)
        output = self.network(
            input_ids=tokens,
            position_ids=(positions + seen).expand(rows, -1),
            output_attentions=need_weights,
            use_cache=True,
            **arguments,
        )
        longer = tuple(
            layer._replace(self_attn=KeyValues(read.keys[:, :, seen:], read.values[:, :, seen:]))
            for layer, read in zip(cache.layers, read_layers(both), strict=True)
        )
        weights = output.attentions if need_weights else None
        return DecoderOutput(cast(Tensor, output.logits), Cache(longer), weights)
