"""Cross-attention in NumPy, short enough to read aloud.

A sentence is being written about a photo. For the next word the decoder holds a vector, and the
photo is a grid of vectors, one for each patch. Which patches matter for this word? Cross-attention
answers in three steps, with three learned projections:

    Q (query)   what the word is looking for          made from the text
    K (key)     what each patch has to offer          made from the image
    V (value)   what a patch passes on if it is read  made from the image

    scores  = Q Kᵀ / √d          how well each patch matches each word      (words, patches)
    weights = softmax(scores)    the same as shares: each row sums to one   (words, patches)
    output  = weights V          the patches, mixed in those shares         (words, d)

The √d (d is the length of a query) keeps the scores from growing with the size of the vectors;
without it the softmax would all but pick a single patch and hardly learn. The rows of `weights`,
laid out as the grid of patches, are the heatmaps that CaptionLens shows.

Self-attention is the same function called with one sequence: the words so far are asked *and* are
looked at, under a mask that hides the words not yet written:

    cross_attention(words, photo, ...)                              # cross-attention
    cross_attention(words, words, ..., mask=causal_mask(len(words)))  # self-attention

Translation and retrieval use the same function again: there Q comes from the sentence being
written and K, V from the sentence in the other language, or from the captions that were found.

Formula: Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section 3.2.2.
`model/network/attention.py` is the same in torch; the tests hold the two to each other.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of any kind of number


def softmax(scores: Array) -> Array:
    """Turn the last axis into shares that sum to one.

    Subtracting the largest score first changes nothing in the result (it cancels), but keeps
    `exp` from overflowing. A row in which everything is hidden (-inf) has no answer and raises
    ValueError.
    """
    largest = scores.max(axis=-1, keepdims=True)
    if np.isneginf(largest).any():
        raise ValueError("softmax: a row is hidden entirely; let each query see something")
    exponentials = np.exp(scores - largest)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def causal_mask(length: int) -> Array:
    """(length, length), True where position t may look: at itself and at what came before."""
    return np.tril(np.ones((length, length), dtype=bool))


def match_scores(query: Array, key: Array) -> Array:
    """Q Kᵀ / √d, how well each query matches each key: (..., T, d), (..., S, d) -> (..., T, S)."""
    return query @ np.swapaxes(key, -1, -2) / np.sqrt(query.shape[-1])


def attention(
    query: Array, key: Array, value: Array, mask: Array | None = None
) -> tuple[Array, Array]:
    """Scaled dot-product attention.

    Args:
        query: (..., T, d), one row for each position that asks.
        key: (..., S, d) and value: (..., S, d_value), one row for each position looked at.
        mask: broadcastable to (..., T, S), True where looking is allowed.

    Returns:
        output (..., T, d_value) and weights (..., T, S).
    """
    scores = match_scores(query, key)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    weights = softmax(scores)
    return weights @ value, weights


def cross_attention(
    text: Array,
    image: Array,
    w_query: Array,
    w_key: Array,
    w_value: Array,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Single-head cross-attention: text (T, d_text) looks at image (S, d_image).

    The projections have shapes (d_text, d), (d_image, d) and (d_image, d_value). Returns output
    (T, d_value) and weights (T, S).
    """
    return attention(text @ w_query, image @ w_key, image @ w_value, mask)


def multi_head_cross_attention(
    text: Array,
    image: Array,
    w_query: Array,
    w_key: Array,
    w_value: Array,
    w_output: Array,
    num_heads: int,
    b_query: Array | float = 0.0,
    b_key: Array | float = 0.0,
    b_value: Array | float = 0.0,
    b_output: Array | float = 0.0,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """Several heads, each with its own slice of the projections and so its own question.

    text (T, d_text), image (S, d_image); w_query (d_text, width), w_key and w_value
    (d_image, width), w_output (width, d_out); the biases b_… are added where given. Returns
    output (T, d_out) and weights (num_heads, T, S).
    """

    def split(x: Array) -> Array:  # (length, width) -> (heads, length, head_dim)
        return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)

    mixed, weights = attention(
        split(text @ w_query + b_query),
        split(image @ w_key + b_key),
        split(image @ w_value + b_value),
        mask,
    )
    side_by_side = mixed.swapaxes(0, 1).reshape(len(text), -1)  # (T, width)
    return side_by_side @ w_output + b_output, weights
