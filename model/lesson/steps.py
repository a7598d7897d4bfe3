"""One step of cross-attention inside a real captioner, taken apart for the lesson.

Torch only brings the tensors. Every number of the lesson is made by `numpy_attention.py` beside it
and held to what the captioner's own block gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from model.explain.explanation import Explanation
from model.lesson.numpy_attention import (
    Array,
    causal_mask,
    match_scores,
    multi_head_cross_attention,
    softmax,
)
from model.memory.memory import read_caption
from model.network.attention import KeyValues, MultiHeadAttention
from model.network.decoder import TextDecoder
from model.network.memory_encoder import RememberedCaption
from model.network.network import Network
from model.network.tokenizer import CaptionTokenizer
from model.search.caption import Caption
from model.search.generation import choose_options, stream_from_cache
from model.translation import Translation


@dataclass(frozen=True)
class LessonStep:
    """What one head of one layer does when a word is about to be chosen.

    d is head_dim, S the prefix tokens and patches, T the tokens so far with the start token.

    Attributes:
        query: (d,), from the text.
        keys, values: (S, d), from the image.
        scores, weights: (S,), before and after the softmax.
        output: (d,), the values mixed in the shares of `weights`.
        weights_so_far: (T, S), of every token so far; the last row is `weights`.
        all_weights: (heads, S), of every head of the layer; row `head` is `weights`.
        layer_output: (width,), all heads through the output projection.
        weights_difference, output_difference: how far the weights of all heads and the output of
            the layer are from torch's, at most.
        token_texts: the T tokens as text; the query is the last one's.
        self_weights: (T, T), the same layer's self-attention, head of the same number: row t is
            what token t looked at.
    """

    query: Array
    keys: Array
    values: Array
    scores: Array
    weights: Array
    output: Array
    weights_so_far: Array
    all_weights: Array
    layer_output: Array
    weights_difference: float
    output_difference: float
    token_texts: list[str]
    self_weights: Array


@torch.inference_mode()
def take_step_apart(
    network: Network, image_features: Tensor, caption: Caption, word: int, layer: int, head: int
) -> LessonStep:
    """Take apart the step that chose a word's first token; word, layer and head count from 0.

    network: with a decoder of our own, a `TextDecoder`.
    image_features: (S, image_width), of an `EncodedPhoto`; other things to look at may follow.
    """
    assert isinstance(network.decoder, TextDecoder)
    tokens = [network.tokenizer.start, *caption.tokens[: caption.words[word].start]]
    return _take_apart(network.decoder, network.tokenizer, image_features, tokens, layer, head)


def _take_apart(
    decoder: TextDecoder,
    tokenizer: CaptionTokenizer,
    features: Tensor,
    tokens: list[int],
    layer: int,
    head: int,
) -> LessonStep:
    """The step after these tokens, the start token first, with features (S, width) to look at."""
    block = decoder.blocks[layer]

    # what this layer's block reads, and what its cross-attention is given and gives
    ids = torch.tensor([tokens], device=features.device)
    cache = decoder.look_at(features[None])
    x = decoder.embed(ids, torch.arange(len(tokens), device=features.device))
    for earlier_block, layer_cache in zip(
        decoder.blocks[:layer], cache.layers[:layer], strict=True
    ):
        x, *_ = earlier_block(x, layer_cache)
    after_text, *_ = block.attend_to_text(x, None)
    asking = block.cross_attn_norm(after_text)
    torch_output, torch_weights = block.cross_attn(
        asking, cache.layers[layer].cross_attn, need_weights=True
    )

    # The same in NumPy: one head step by step, then the layer as a whole.
    text = _to_numpy(asking[0])
    image = _to_numpy(decoder.image_projection(features))
    parameters = _get_parameters(block.cross_attn)
    num_heads = block.cross_attn.num_heads
    head_dim = text.shape[1] // num_heads
    columns = slice(head * head_dim, (head + 1) * head_dim)  # the head's, of each matrix
    query = text[-1:] @ parameters["w_query"][:, columns] + parameters["b_query"][columns]
    keys = image @ parameters["w_key"][:, columns] + parameters["b_key"][columns]
    values = image @ parameters["w_value"][:, columns] + parameters["b_value"][columns]
    scores = match_scores(query, keys)
    weights = softmax(scores)
    output = weights @ values
    layer_output, all_weights = multi_head_cross_attention(
        text, image, num_heads=num_heads, **parameters
    )

    # And once more the same function, with the words in the place of the image.
    words = _to_numpy(block.self_attn_norm(x)[0])
    _, self_weights = multi_head_cross_attention(
        words,
        words,
        num_heads=num_heads,
        mask=causal_mask(len(tokens)),
        **_get_parameters(block.self_attn),
    )
    return LessonStep(
        query=query[0],
        keys=keys,
        values=values,
        scores=scores[0],
        weights=weights[0],
        output=output[0],
        weights_so_far=all_weights[head],
        all_weights=all_weights[:, -1],
        layer_output=layer_output[-1],
        weights_difference=float(np.abs(all_weights - _to_numpy(torch_weights[0])).max()),
        output_difference=float(np.abs(layer_output - _to_numpy(torch_output[0])).max()),
        token_texts=["start", *_name_tokens(tokenizer, tokens[1:])],
        self_weights=self_weights[head],
    )


class RetrievalStep(NamedTuple):
    """A step whose query meets sentences too, behind the patches and under the same softmax.

    Attributes:
        step: over prefix tokens, patches and the tokens of the sentences.
        sentences: as the network reads them.
        word_weights: for each sentence, how much of the weights fell on each of its words.
    """

    step: LessonStep
    sentences: list[RememberedCaption]
    word_weights: list[list[float]]


@torch.inference_mode()
def take_retrieval_apart(
    network: Network,
    image_features: Tensor,
    sentences: Sequence[str],
    caption: Caption,
    word: int,
    layer: int,
    head: int,
) -> RetrievalStep:
    """As `take_step_apart`, with the words of sentences to look at beside the photo. Those without
    a word are left out.

    Raises OptionError for a network without a memory encoder.
    """
    read = [text for text in (read_caption(network, "", text) for text in sentences) if text]
    features = network.encode_captions([sentence.tokens for sentence in read])
    context = torch.cat([image_features, *features])
    step = take_step_apart(network, context, caption, word, layer, head)
    word_weights, begin = [], len(image_features)
    for sentence in read:
        spans = [(begin + other.start, begin + other.stop) for other in sentence.words]
        word_weights.append([float(step.weights[start:stop].sum()) for start, stop in spans])
        begin += len(sentence.tokens)
    return RetrievalStep(step, read, word_weights)


class TranslationStep(NamedTuple):
    """A step whose query comes from one language, and its keys and values from another.

    Attributes:
        step: over the tokens of the source, its end token the last.
        source_texts: these tokens as text.
    """

    step: LessonStep
    source_texts: list[str]


@torch.inference_mode()
def take_translation_apart(
    translation: Translation, word: int, layer: int, head: int
) -> TranslationStep:
    """As `take_step_apart`, of a translator: the step that chose a word of the translation."""
    network = translation.network
    tokenizer, decoder = network.tokenizer, network.decoder
    source, _ = tokenizer.encode(translation.source)
    ids = torch.tensor([[*source, tokenizer.end]], device=network.device)
    features = network.encoder(decoder.token_embedding(ids))[0]
    written = translation.tokens[: translation.words[word].start]
    tokens = [tokenizer.starts[translation.language], *written]
    step = _take_apart(decoder, tokenizer, features, tokens, layer, head)
    return TranslationStep(step, [*_name_tokens(tokenizer, source), "end"])


def choose_first_translation_step(translation: Translation) -> tuple[int, int, int]:
    """The (word, layer, head) with which the lesson begins: the word that looked at one word of the
    source most, and the head that looked at that one most."""
    alignment = translation.alignment
    word, source = np.unravel_index(alignment.argmax(), alignment.shape)
    by_head = translation.head_weights[:, :, word, source]
    layer, head = np.unravel_index(by_head.argmax(), by_head.shape)
    return int(word), int(layer), int(head)


def choose_first_step(explanation: Explanation) -> tuple[int, int, int]:
    """The (word, layer, head) with which the lesson begins: the word that owes most to the photo,
    and the head that did most for it there (weights × gradients, where positive)."""
    word = int(np.argmax(explanation.gains))
    attention, token = explanation.attention, explanation.words[word].start
    contributions = np.maximum(attention.weights * attention.gradients, 0)[:, :, token]
    by_head = contributions[:, :, attention.num_prefix_tokens :].sum(axis=-1)
    layer, head = np.unravel_index(by_head.argmax(), by_head.shape)
    return word, int(layer), int(head)


@torch.inference_mode()
def caption_blindly(network: Network) -> str:
    """What the decoder writes when it may not look, the same for every photo.

    All values of all layers are zeros: whatever the weights, nothing comes through but the output
    projection's own bias, which no photo changes. So no photo is needed.
    """
    empty = torch.zeros(1, 1, network.config.image_width, device=network.device)
    cache = network.decoder.look_at(empty)
    cache = cache.replace_images(
        [
            KeyValues(layer.cross_attn.keys, torch.zeros_like(layer.cross_attn.values))
            for layer in cache.layers
        ]
    )
    *_, captions = stream_from_cache(network, cache, choose_options(network.config))
    return captions[0][0].text


def _get_parameters(block: MultiHeadAttention) -> dict[str, Array]:
    """A torch block's matrices and biases under the lesson's names; Linear keeps the matrices
    transposed."""
    parameters = {}
    for name, linear in block.named_children():
        parameters[f"w_{name}"] = _to_numpy(cast(Tensor, linear.weight)).T
        parameters[f"b_{name}"] = _to_numpy(cast(Tensor, linear.bias))
    return parameters


def _name_tokens(tokenizer: CaptionTokenizer, tokens: Sequence[int]) -> list[str]:
    return [tokenizer.tokenizer.decode([token]).strip() for token in tokens]


def _to_numpy(tensor: Tensor) -> Array:
    return tensor.detach().float().cpu().numpy()
