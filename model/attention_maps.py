"""From attention weights to one map per word. Pure functions of numbers: nothing here runs a
model."""

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
        gradients: as `weights`: the gradient of each token's own log-probability with respect
            to its row. None where no gradients were taken.
    """

    weights: np.ndarray
    grid_size: tuple[int, int]
    num_prefix_tokens: int
    gradients: np.ndarray | None = None

    def __post_init__(self):
        rows, cols = self.grid_size
        if self.weights.ndim != 4 or self.weights.shape[3] != self.num_prefix_tokens + rows * cols:
            raise ValueError(
                f"weights {self.weights.shape} do not fit {self.num_prefix_tokens} prefix tokens "
                f"and {rows} × {cols} patches"
            )
        if self.gradients is not None and self.gradients.shape != self.weights.shape:
            raise ValueError(f"gradients {self.gradients.shape} of weights {self.weights.shape}")


def raw_attention(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: int | None = None,
    head: int | None = None,
) -> np.ndarray:
    """The weights themselves: the mean over layers, heads and the word's tokens, or of the one
    layer or head that is named. Its sum is the share that fell on the image, at most one."""
    return _on_grid(attention, attention.weights, span, layer, head)


def gradient_weighted(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: int | None = None,
    head: int | None = None,
) -> np.ndarray:
    """Weights times the gradient of the log-probability, where that is positive: what looking
    there did for the word (Chefer, Gur and Wolf 2021, "Generic Attention-model Explainability",
    eq. 5, for one layer or the mean over layers). In nats, the mean over the word's tokens."""
    if attention.gradients is None:
        raise ValueError("the method 'gradient' needs gradients, which this record lacks")
    for_the_word = np.maximum(attention.weights * attention.gradients, 0)
    return _on_grid(attention, for_the_word, span, layer, head)


def _on_grid(
    attention: CrossAttention,
    values: np.ndarray,
    span: tuple[int, int],
    layer: int | None,
    head: int | None,
) -> np.ndarray:
    """Values (layers, heads, tokens, prefix + patches) of a word as a mean on the patch grid."""
    layers, heads = values.shape[:2]
    for name, value, count in (("layer", layer, layers), ("head", head, heads)):
        if value is not None and not 0 <= value < count:
            raise ValueError(f"{name} {value} does not exist; there are {count}, counted from 0")
    chosen = values[
        slice(None) if layer is None else slice(layer, layer + 1),
        slice(None) if head is None else slice(head, head + 1),
        span[0] : span[1],
        attention.num_prefix_tokens :,
    ]
    return chosen.mean(axis=(0, 1, 2)).reshape(attention.grid_size).astype(np.float32)


METHODS = {"attention": raw_attention, "gradient": gradient_weighted}
DEFAULT_METHOD = "attention"


def heatmap(
    attention: CrossAttention, span: tuple[int, int], method: str = DEFAULT_METHOD, **choices
) -> np.ndarray:
    """The map of the tokens [start, stop) by a method's name: (rows, cols) float32, >= 0.

    choices: `layer` and `head`, counted from 0; the mean over all if not given. Raises
    ValueError for an unknown method, an empty span, or a layer or head that is not there.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if not 0 <= span[0] < span[1] <= attention.weights.shape[2]:
        raise ValueError(f"tokens {span} are not within the {attention.weights.shape[2]} replayed")
    return METHODS[method](attention, span, **choices)


def image_share(attention: CrossAttention, span: tuple[int, int]) -> float:
    """How much of a word's attention fell on the image rather than on prefix tokens, 0 to 1."""
    return float(raw_attention(attention, span).sum())
