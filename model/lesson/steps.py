"""One step of cross-attention inside a real captioner, taken apart for the lesson.

Torch only brings the tensors. Every number of the lesson is made by `numpy_attention.py` beside it
and held to what the captioner's own block gives.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.captioner import Captioner
from model.explain.explanation import Explanation
from model.lesson.numpy_attention import (
    causal_mask,
    match_scores,
    multi_head_cross_attention,
    softmax,
)
from model.network.attention import KeyValues, MultiHeadAttention
from model.network.decoder import LayerCache
from model.search.caption import Caption
from model.search.generation import generate


@dataclass(frozen=True)
class LessonStep:
    """What one head of one layer does when a word is about to be chosen.

    d is head_dim, S the prefix tokens and patches, T the tokens so far with the start token.

    Attributes:
        query: (d,), from the text.
        keys, values: (S, d), from the image.
        scores, weights: (S,), before and after the softmax.
        output: (d,), the values mixed in the shares of `weights`.
        all_weights: (heads, S), of every head of the layer; row `head` is `weights`.
        layer_output: (width,), all heads through the output projection.
        weights_difference, output_difference: how far `all_weights` and `layer_output` are from
            torch's, at most.
        pieces: the T tokens as text; the last is the one that asks.
        self_weights: (T, T), the same layer's self-attention, head of the same number: row t is
            what token t looked at.
    """

    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    output: np.ndarray
    all_weights: np.ndarray
    layer_output: np.ndarray
    weights_difference: float
    output_difference: float
    pieces: list[str]
    self_weights: np.ndarray


@torch.inference_mode()
def steps(
    captioner: Captioner,
    image_features: Tensor,
    caption: Caption,
    word: int,
    layer: int,
    head: int,
) -> LessonStep:
    """Take apart the step that chose a word's first token; layer and head count from 0.

    image_features: (S, image_width), as `Captioner.encode` gives them for one photo.
    """
    decoder = captioner.decoder
    block = decoder.blocks[layer]
    tokens = [captioner.tokenizer.start, *caption.tokens[: caption.words[word].start]]

    # As `Block.forward` goes, up to the point where this layer looks at the image.
    ids = torch.tensor([tokens], device=captioner.device)
    cache = decoder.look_at(image_features[None])
    x = decoder.token_embedding(ids) + decoder.position_embedding.weight[: len(tokens)]
    for earlier, seen in zip(decoder.blocks[:layer], cache[:layer], strict=True):
        x, *_ = earlier(x, seen)
    words = block.self_attn_norm(x)
    attended, _ = block.self_attn(words, block.self_attn.keys_values(words), is_causal=True)
    asking = block.cross_attn_norm(x + attended)[:, -1:]
    torch_output, torch_weights = block.cross_attn(
        asking, cache[layer].cross_attn, need_weights=True
    )

    # The same in NumPy: one head step by step, then the layer as a whole.
    text, image = _numpy(asking[0]), _numpy(decoder.image_projection(image_features))
    learned = _parameters(block.cross_attn)
    head_dim = captioner.config.width // captioner.config.num_heads
    own = slice(head * head_dim, (head + 1) * head_dim)  # the head's columns of each matrix
    query = text @ learned["w_query"][:, own] + learned["b_query"][own]
    keys = image @ learned["w_key"][:, own] + learned["b_key"][own]
    values = image @ learned["w_value"][:, own] + learned["b_value"][own]
    scores = match_scores(query, keys)
    weights = softmax(scores)
    output = weights @ values
    layer_output, all_weights = multi_head_cross_attention(
        text, image, num_heads=captioner.config.num_heads, **learned
    )

    # And once more the same function, with the words in the place of the image.
    _, self_weights = multi_head_cross_attention(
        _numpy(words[0]),
        _numpy(words[0]),
        num_heads=captioner.config.num_heads,
        mask=causal_mask(len(tokens)),
        **_parameters(block.self_attn),
    )
    return LessonStep(
        query=query[0],
        keys=keys,
        values=values,
        scores=scores[0],
        weights=weights[0],
        output=output[0],
        all_weights=all_weights[:, 0],
        layer_output=layer_output[0],
        weights_difference=float(np.abs(all_weights - _numpy(torch_weights[0])).max()),
        output_difference=float(np.abs(layer_output - _numpy(torch_output[0])).max()),
        pieces=["start", *(captioner.tokenizer.tokenizer.decode([t]).strip() for t in tokens[1:])],
        self_weights=self_weights[head],
    )


def opening(explanation: Explanation) -> tuple[int, int, int]:
    """Where the lesson begins, as (word, layer, head): the word that owes most to the photo, and
    the head that did most for it there (weights × gradients, where positive)."""
    word = int(np.argmax(explanation.gains))
    record, token = explanation.attention, explanation.words[word].start
    helped = np.maximum(record.weights * record.gradients, 0)[:, :, token]
    by_head = helped[:, :, record.num_prefix_tokens :].sum(axis=-1)
    layer, head = np.unravel_index(by_head.argmax(), by_head.shape)
    return word, int(layer), int(head)


@torch.inference_mode()
def caption_unseeing(captioner: Captioner) -> str:
    """What the decoder writes when it may not look, the same for every photo.

    All values of all layers are zeros: whatever the weights, nothing comes through but the output
    projection's own bias, which no photo changes. So no photo is needed.
    """
    nothing = torch.zeros(1, 1, captioner.config.image_width, device=captioner.device)
    cache = tuple(
        LayerCache(KeyValues(keys, torch.zeros_like(values)))
        for (keys, values), _ in captioner.decoder.look_at(nothing)
    )
    tokenizer = captioner.tokenizer
    *_, results = generate(
        captioner.decoder,
        cache,
        tokenizer.start,
        tokenizer.end,
        captioner.options(),
        alike=tokenizer.alike,
    )
    tokens, _ = results[0][0]
    words = tokenizer.words([token for token in tokens if token != tokenizer.end])
    return " ".join(word.text for word in words)


def _parameters(block: MultiHeadAttention) -> dict[str, np.ndarray]:
    """A torch block's matrices and biases under the lesson's names; Linear keeps the matrices
    transposed."""
    learned = {}
    for name, linear in block.named_children():
        learned[f"w_{name}"] = _numpy(linear.weight).T
        learned[f"b_{name}"] = _numpy(linear.bias)
    return learned


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
