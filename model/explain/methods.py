"""From attention weights to one map per word. Pure functions of numbers: nothing here runs a
model.

A map is to be trusted as far as it was measured: `python -m training.evaluate_maps` compares every
method here with what happens when the patches it points at are hidden.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.errors import OptionError

SINK = 3.0  # a sink gets at least so many times an even share from every token
ALIKE = 0.1  # maps whose spread is below this are the same for every word


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
        rollout: (prefix + patches, prefix + patches), each row sums to one: how much of the
            encoder's input at each place is in its output token, see `rollout_matrix`.
        occlusion: (tokens, rows, cols): nats that each token's log-probability falls, on
            average, when a window with this patch is hidden from the encoder.
    """

    weights: np.ndarray
    grid_size: tuple[int, int]
    num_prefix_tokens: int
    gradients: np.ndarray | None = None
    rollout: np.ndarray | None = None
    occlusion: np.ndarray | None = None

    def __post_init__(self):
        rows, cols = self.grid_size
        if self.weights.ndim != 4 or self.weights.shape[3] != self.num_prefix_tokens + rows * cols:
            raise ValueError(
                f"weights {self.weights.shape} do not fit {self.num_prefix_tokens} prefix tokens "
                f"and {rows} × {cols} patches"
            )
        seen = self.weights.shape[3]
        for name, shape in (
            ("gradients", self.weights.shape),
            ("rollout", (seen, seen)),
            ("occlusion", (self.weights.shape[2], rows, cols)),
        ):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} {value.shape} of weights {self.weights.shape}")


Choice = int | Sequence[int] | None  # of layers or heads: one, several, or all


def raw_attention(
    attention: CrossAttention, span: tuple[int, int], layer: Choice = None, head: Choice = None
) -> np.ndarray:
    """The weights themselves: the mean over layers, heads and the word's tokens, or over those
    that are named. Its sum over the patches is the share that fell on the image, at most one."""
    return _mean(attention.weights, span, layer, head)


def gradient_weighted(
    attention: CrossAttention, span: tuple[int, int], layer: Choice = None, head: Choice = None
) -> np.ndarray:
    """Weights times the gradient of the log-probability, where that is positive: what looking
    there did for the word (Chefer, Gur and Wolf 2021, "Generic Attention-model Explainability",
    eq. 5, for one layer or the mean over layers). In nats, the mean over the word's tokens."""
    return _mean(np.maximum(attention.weights * attention.gradients, 0), span, layer, head)


def rolled_out(
    attention: CrossAttention, span: tuple[int, int], layer: Choice = None, head: Choice = None
) -> np.ndarray:
    """The weights, followed through the encoder to the patches its tokens were mixed from
    (Abnar and Zuidema 2020). Sums to at most one."""
    return raw_attention(attention, span, layer, head) @ attention.rollout


def gradient_rolled_out(
    attention: CrossAttention, span: tuple[int, int], layer: Choice = None, head: Choice = None
) -> np.ndarray:
    """As `gradient_weighted`, followed through the encoder as in `rolled_out`; in nats."""
    return gradient_weighted(attention, span, layer, head) @ attention.rollout


def occluded(
    attention: CrossAttention, span: tuple[int, int], layer: Choice = None, head: Choice = None
) -> np.ndarray:
    """The fall of the word's log-probability when a patch is hidden, in nats, the sum over the
    word's tokens; where hiding it helps the word, 0 (Zeiler and Fergus 2014)."""
    if layer is not None or head is not None:
        raise OptionError("the method 'occlusion' has no layers or heads to choose from")
    fall = np.maximum(attention.occlusion[span[0] : span[1]].sum(axis=0), 0)
    return np.concatenate([np.zeros(attention.num_prefix_tokens), fall.ravel()])


def _mean(values: np.ndarray, span: tuple[int, int], layer: Choice, head: Choice) -> np.ndarray:
    """Values (layers, heads, tokens, prefix + patches) -> (prefix + patches,), of one word."""
    layers = _numbers("layer", layer, len(values))
    heads = _numbers("head", head, values.shape[1])
    return values[layers][:, heads, span[0] : span[1]].mean(axis=(0, 1, 2))


def _numbers(name: str, choice: Choice, count: int) -> list[int]:
    """The layers or heads of a choice, all of them if it is None."""
    if choice is None:
        return list(range(count))
    try:
        numbers = [operator.index(n) for n in np.atleast_1d(choice).tolist()]
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name} must be a number or a list of them, not {choice!r}") from error
    if not numbers:
        raise OptionError(f"{name} names none; give at least one, or None for all")
    for number in numbers:
        if not 0 <= number < count:
            raise OptionError(f"{name} {number} does not exist; there are {count}, counted from 0")
    return numbers


@dataclass(frozen=True)
class Method:
    """A way to make a map: its function, and the part of the record that it needs beside the
    weights."""

    function: Callable[..., np.ndarray]
    needs: str | None = None

    @property
    def needs_photo(self) -> bool:
        """Whether the encoder has to run again: the photo's features are not enough."""
        return self.needs in ("rollout", "occlusion")

    @property
    def has_layers(self) -> bool:
        """Whether there are layers and heads to choose from."""
        return self.needs != "occlusion"


METHODS = {
    "attention": Method(raw_attention),
    "gradient": Method(gradient_weighted, "gradients"),
    "rollout": Method(rolled_out, "rollout"),
    "gradient-rollout": Method(gradient_rolled_out, "rollout"),
    "occlusion": Method(occluded, "occlusion"),
}
DEFAULT_METHOD = "gradient"


def check_method(name: str) -> str:
    """The name, if there is such a method; raises ValueError that lists them."""
    if not isinstance(name, str) or name not in METHODS:
        raise OptionError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    return name


def heatmap(
    attention: CrossAttention,
    span: tuple[int, int],
    method: str = DEFAULT_METHOD,
    *,
    layer: Choice = None,
    head: Choice = None,
    mask_sinks: bool = False,
) -> np.ndarray:
    """The map of the tokens [start, stop) by a method's name: (rows, cols) float32, >= 0.

    Args:
        layer, head: one or several, counted from 0; the mean over all if not given.
        mask_sinks: leave out (as 0) the patches that `sinks` finds.

    Raises ValueError for an unknown method, an empty span, a layer or head that is not there, or
    a method that needs more than was recorded.
    """
    chosen = METHODS[check_method(method)]
    if not 0 <= span[0] < span[1] <= attention.weights.shape[2]:
        raise OptionError(f"tokens {span} are not within the {attention.weights.shape[2]} replayed")
    if chosen.needs and getattr(attention, chosen.needs) is None:
        raise OptionError(
            f"the method {method!r} needs {chosen.needs}, which this record lacks; "
            f"explain the photo with methods=[{method!r}]"
        )
    found = chosen.function(attention, span, layer, head)[attention.num_prefix_tokens :]
    found = found.reshape(attention.grid_size).astype(np.float32)
    return np.where(sinks(attention), np.float32(0), found) if mask_sinks else found


def image_share(attention: CrossAttention, span: tuple[int, int]) -> float:
    """How much of a word's attention fell on the image rather than on prefix tokens, 0 to 1."""
    return float(raw_attention(attention, span)[attention.num_prefix_tokens :].sum())


def sinks(attention: CrossAttention) -> np.ndarray:
    """Patches that take mass whatever the word: (rows, cols) bool.

    They get at least `SINK` times an even share of attention (mean over layers and heads) from
    every token of the caption, the end token included.
    """
    by_token = attention.weights.mean(axis=(0, 1))  # (tokens, prefix + patches)
    always = by_token.min(axis=0) * by_token.shape[1] >= SINK
    return always[attention.num_prefix_tokens :].reshape(attention.grid_size)


def spread(maps: Sequence[np.ndarray]) -> float:
    """How much the maps of a caption's words differ, 0 (all the same) to 1 (nowhere shared).

    The mean total variation distance of each map, scaled to sum to one, from the mean of all.
    Maps that are 0 everywhere do not count.
    """
    shares = [m.ravel() / m.sum() for m in maps if m.sum() > 0]
    if not shares:
        return 0.0
    return float(np.abs(np.array(shares) - np.mean(shares, axis=0)).sum(axis=1).mean() / 2)


def rollout_matrix(layers: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each input token is in each output token of a stack of self-attention layers.

    layers: each (heads, S, S). The mean over heads, half of it the residual connection, one layer
    after the other (Abnar and Zuidema 2020, eq. 1 and section 3). Rows sum to one.
    """
    seen = np.eye(layers[0].shape[-1], dtype=np.float64)
    for weights in layers:
        seen = 0.5 * (weights.mean(axis=0) @ seen + seen)
    return seen.astype(np.float32)
