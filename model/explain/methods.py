"""From attention weights to one map per word. Pure functions of numbers: nothing here runs a
model.

A map is to be trusted as far as it was measured: `python -m training.evaluate_maps` compares every
method here with what happens when the patches it points at are hidden.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError

SINK_RATIO = 3.0  # every token gives a sink at least this many times an even share of attention
MIN_SPREAD = 0.1  # maps with a smaller spread are the same for every word


@dataclass(frozen=True)
class CrossAttention:
    """Where every token of a caption looked.

    Attributes:
        weights: (layers, heads, tokens, prefix + patches + memory), each row sums to one. Row t is
            the attention that chose token t.
        grid_size: (rows, cols) of the patches, which follow the prefix tokens row by row.
        num_prefix_tokens: tokens before the patches (CLS, registers).
        gradients: as `weights`: the gradient of each token's own log-probability with respect
            to its row. None where no gradients were taken.
        rollout: (prefix + patches, prefix + patches), each row sums to one: how much of the
            encoder's input at each place is in its output token, see `compute_rollout`.
        occlusion: (tokens, rows, cols): nats that each token's log-probability falls, on
            average, when a window with this patch is hidden from the encoder.
        num_memory_tokens: tokens of remembered captions, behind the patches.
    """

    weights: NDArray[Any]
    grid_size: tuple[int, int]
    num_prefix_tokens: int
    gradients: NDArray[Any] | None = None
    rollout: NDArray[Any] | None = None
    occlusion: NDArray[Any] | None = None
    num_memory_tokens: int = 0

    def __post_init__(self) -> None:
        rows, cols = self.grid_size
        num_image_tokens = self.num_prefix_tokens + rows * cols
        context_length = num_image_tokens + self.num_memory_tokens
        if self.weights.ndim != 4 or self.weights.shape[3] != context_length:
            raise ValueError(
                f"weights {self.weights.shape} do not fit {self.num_prefix_tokens} prefix tokens "
                f"and {rows} × {cols} patches, with {self.num_memory_tokens} remembered tokens"
            )
        for name, shape in (
            ("gradients", self.weights.shape),
            ("rollout", (num_image_tokens, num_image_tokens)),
            ("occlusion", (self.weights.shape[2], rows, cols)),
        ):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} {value.shape} of weights {self.weights.shape}")

    @property
    def patches(self) -> slice:
        """Where the patches stand among what was looked at."""
        rows, cols = self.grid_size
        return slice(self.num_prefix_tokens, self.num_prefix_tokens + rows * cols)


Selection = int | Sequence[int] | None  # of layers or heads: one, several, or all


def rate_by_attention(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: Selection = None,
    head: Selection = None,
) -> NDArray[Any]:
    """The weights themselves: the mean over layers, heads and the word's tokens, or over those
    that are named. Its sum over the patches is the share that fell on the image, at most one."""
    return _average(attention.weights, span, layer, head)


def rate_by_gradient(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: Selection = None,
    head: Selection = None,
) -> NDArray[Any]:
    """Weights times the gradient of the log-probability, where that is positive: what looking
    there did for the word (Chefer, Gur and Wolf 2021, "Generic Attention-model Explainability",
    eq. 5, for one layer or the mean over layers). In nats, the mean over the word's tokens."""
    return _average(np.maximum(attention.weights * attention.gradients, 0), span, layer, head)


def rate_by_rollout(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: Selection = None,
    head: Selection = None,
) -> NDArray[Any]:
    """The weights, followed through the encoder to the patches its tokens were mixed from
    (Abnar and Zuidema 2020). Sums to at most one."""
    values = rate_by_attention(attention, span, layer, head)[: attention.patches.stop]
    return values @ attention.rollout


def rate_by_gradient_rollout(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: Selection = None,
    head: Selection = None,
) -> NDArray[Any]:
    """As `rate_by_gradient`, followed through the encoder as in `rate_by_rollout`; in nats."""
    values = rate_by_gradient(attention, span, layer, head)[: attention.patches.stop]
    return values @ attention.rollout


def rate_by_occlusion(
    attention: CrossAttention,
    span: tuple[int, int],
    layer: Selection = None,
    head: Selection = None,
) -> NDArray[Any]:
    """The fall of the word's log-probability when a patch is hidden, in nats, the sum over the
    word's tokens; where hiding it helps the word, 0 (Zeiler and Fergus 2014)."""
    if layer is not None or head is not None:
        raise OptionError("the method 'occlusion' has no layers or heads to choose from")
    assert attention.occlusion is not None  # as `needs` says
    fall = np.maximum(attention.occlusion[span[0] : span[1]].sum(axis=0), 0)
    return np.concatenate([np.zeros(attention.num_prefix_tokens), fall.ravel()])


def _average(
    values: NDArray[Any], span: tuple[int, int], layer: Selection, head: Selection
) -> NDArray[Any]:
    """Values (layers, heads, tokens, prefix + patches) -> (prefix + patches,), of one word."""
    layers = _select_numbers("layer", layer, len(values))
    heads = _select_numbers("head", head, values.shape[1])
    return values[layers][:, heads, span[0] : span[1]].mean(axis=(0, 1, 2))


def _select_numbers(name: str, selection: Selection, count: int) -> list[int]:
    """The selected layers or heads, all of them if the selection is None."""
    if selection is None:
        return list(range(count))
    try:
        numbers = [operator.index(n) for n in np.atleast_1d(selection).tolist()]
    except (TypeError, ValueError) as error:
        problem = f"{name} must be a number or a list of them, not {selection!r}"
        raise OptionError(problem) from error
    if not numbers:
        raise OptionError(f"{name} names none; give at least one, or None for all")
    for number in numbers:
        if not 0 <= number < count:
            raise OptionError(f"{name} {number} does not exist; there are {count}, counted from 0")
    return numbers


class Requirement(Enum):
    """What a method needs beside the weights; the value is the field of `CrossAttention`."""

    GRADIENTS = "gradients"
    ROLLOUT = "rollout"
    OCCLUSION = "occlusion"


@dataclass(frozen=True)
class Method:
    """A way to compute a map.

    Attributes:
        name: as users type it.
        description: one sentence about what is bright in the map.
        compute: (attention, span, layer, head) -> (prefix + patches,), of the tokens in `span`.
        requires: what it needs beside the weights.
        has_layers: whether there are layers and heads to select.
    """

    name: str
    description: str
    compute: Callable[[CrossAttention, tuple[int, int], Selection, Selection], NDArray[Any]]
    requires: tuple[Requirement, ...] = ()
    has_layers: bool = True


METHODS = {
    method.name: method
    for method in (
        Method(
            "attention",
            "Bright: what the word looked at, whether it mattered or not.",
            rate_by_attention,
        ),
        Method(
            "gradient",
            "Bright: what the word looked at and what made it likelier.",
            rate_by_gradient,
            (Requirement.GRADIENTS,),
        ),
        Method(
            "rollout",
            "As attention, followed through the encoder to the patches themselves.",
            rate_by_rollout,
            (Requirement.ROLLOUT,),
        ),
        Method(
            "gradient-rollout",
            "As gradient, followed through the encoder to the patches themselves.",
            rate_by_gradient_rollout,
            (Requirement.GRADIENTS, Requirement.ROLLOUT),
        ),
        Method(
            "occlusion",
            "Bright: where hiding the photo makes the word less likely. Takes seconds.",
            rate_by_occlusion,
            (Requirement.OCCLUSION,),
            has_layers=False,
        ),
    )
}
DEFAULT_METHOD = "gradient"


def get_method(name: str) -> Method:
    """The method of this name; raises OptionError, which lists all names, if there is none."""
    if not isinstance(name, str) or name not in METHODS:
        raise OptionError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]


def compute_heatmap(
    attention: CrossAttention,
    span: tuple[int, int],
    method: str = DEFAULT_METHOD,
    *,
    layer: Selection = None,
    head: Selection = None,
    mask_sinks: bool = False,
) -> NDArray[Any]:
    """The map of the tokens [start, stop) by a method's name: (rows, cols) float32, >= 0.

    Args:
        layer, head: one or several, counted from 0; the mean over all if not given.
        mask_sinks: set the patches that `find_sinks` finds to 0.

    Raises OptionError for an unknown method, an empty span, a layer or head that is not there, or
    a method that needs more than was recorded.
    """
    entry = get_method(method)
    if not 0 <= span[0] < span[1] <= attention.weights.shape[2]:
        raise OptionError(f"tokens {span} are not within the {attention.weights.shape[2]} replayed")
    missing = [r.value for r in entry.requires if getattr(attention, r.value) is None]
    if missing:
        raise OptionError(
            f"the method {method!r} needs {' and '.join(missing)}, which this record lacks; "
            f"explain the photo with methods=[{method!r}]"
        )
    values = entry.compute(attention, span, layer, head)[attention.patches]
    values = values.reshape(attention.grid_size).astype(np.float32)
    return np.where(find_sinks(attention), np.float32(0), values) if mask_sinks else values


def compute_image_share(attention: CrossAttention, span: tuple[int, int]) -> float:
    """How much of a word's attention fell on the image rather than on prefix tokens or on a memory,
    0 to 1."""
    return float(rate_by_attention(attention, span)[attention.patches].sum())


def rate_memory(attention: CrossAttention, span: tuple[int, int]) -> NDArray[Any]:
    """How much of a word's attention fell on each remembered token: (num_memory_tokens,)."""
    return rate_by_attention(attention, span)[attention.patches.stop :]


def find_sinks(attention: CrossAttention) -> NDArray[Any]:
    """Patches that take mass whatever the word: (rows, cols) bool.

    They get at least `SINK_RATIO` times an even share of attention (mean over layers and heads)
    from every token of the caption, the end token included.
    """
    by_token = attention.weights.mean(axis=(0, 1))  # (tokens, prefix + patches)
    always = by_token.min(axis=0) * by_token.shape[1] >= SINK_RATIO
    return always[attention.patches].reshape(attention.grid_size)


def compute_spread(maps: Sequence[NDArray[Any]]) -> float:
    """How much the maps of a caption's words differ, 0 (all the same) to 1 (nowhere shared).

    The mean total variation distance of each map, scaled to sum to one, from the mean of all.
    Maps that are 0 everywhere do not count.
    """
    shares = [m.ravel() / m.sum() for m in maps if m.sum() > 0]
    if not shares:
        return 0.0
    return float(np.abs(np.array(shares) - np.mean(shares, axis=0)).sum(axis=1).mean() / 2)


def compute_rollout(layers: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """How much of each input token is in each output token of a stack of self-attention layers.

    layers: each (heads, S, S). The mean over heads, half of it the residual connection, one layer
    after the other (Abnar and Zuidema 2020, eq. 1 and section 3). Rows sum to one.
    """
    rollout = np.eye(layers[0].shape[-1], dtype=np.float64)
    for weights in layers:
        rollout = 0.5 * (weights.mean(axis=0) @ rollout + rollout)
    return rollout.astype(np.float32)
