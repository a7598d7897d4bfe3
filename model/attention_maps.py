"""From attention weights to one map per word. Pure functions of numbers: nothing here runs a
model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CrossAttention:
    """Where every token of a caption looked.

    Attributes:
        weights: (layers, heads, tokens, prefix + patches), each row sums to one. Row t is the
            attention that chose token t.
        grid_size: (rows, cols) of the patches, which follow the prefix tokens row by row.
        num_prefix_tokens: tokens before the patches (CLS, registers).
    """

    weights: np.ndarray
    grid_size: tuple[int, int]
    num_prefix_tokens: int

    def __post_init__(self):
        rows, cols = self.grid_size
        if self.weights.ndim != 4 or self.weights.shape[3] != self.num_prefix_tokens + rows * cols:
            raise ValueError(
                f"weights {self.weights.shape} do not fit {self.num_prefix_tokens} prefix tokens "
                f"and {rows} × {cols} patches"
            )


def raw_attention(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: int | None = None,
    head: int | None = None,
) -> np.ndarray:
    """The weights themselves: the mean over layers, heads and the word's tokens, or of the one
    layer or head that is named. Its sum is the share that fell on the image, at most one."""
    layers, heads = attention.weights.shape[:2]
    for name, value, count in (("layer", layer, layers), ("head", head, heads)):
        if value is not None and not 0 <= value < count:
            raise ValueError(f"{name} {value} does not exist; there are {count}, counted from 0")
    chosen = attention.weights[
        slice(None) if layer is None else slice(layer, layer + 1),
        slice(None) if head is None else slice(head, head + 1),
        span[0] : span[1],
        attention.num_prefix_tokens :,
    ]
    return chosen.mean(axis=(0, 1, 2)).reshape(attention.grid_size).astype(np.float32)


METHODS = {"attention": raw_attention}


def heatmap(
    attention: CrossAttention, span: tuple[int, int], method: str = "attention", **choices
) -> np.ndarray:
    """The map of the tokens [start, stop) by a method's name: (rows, cols) float32, >= 0.

    choices: `layer` and `head` for "attention". Raises ValueError for an unknown method, an
    empty span, or a layer or head that is not there.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if not 0 <= span[0] < span[1] <= attention.weights.shape[2]:
        raise ValueError(f"tokens {span} are not within the {attention.weights.shape[2]} replayed")
    return METHODS[method](attention, span, **choices)


def image_share(attention: CrossAttention, span: tuple[int, int]) -> float:
    """How much of a word's attention fell on the image rather than on prefix tokens, 0 to 1."""
    return float(raw_attention(attention, span).sum())


def normalised(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each map scaled so that its largest value is one, for drawing. A map of zeros stays."""
    return [m / m.max() if m.max() > 0 else m for m in maps]
