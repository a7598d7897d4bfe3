"""transformers' eager attention, of whose weights the decoders around it need the photo's part."""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

LOOKING = "looking"  # the name of `attend_and_look` among transformers' attention functions


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    columns: Tensor | None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """As transformers' eager attention, but only these columns of the weights are given; None: all.

    They are cut out and put back before the values are summed: a copy that nothing is computed
    from would have no gradient.

    query: (rows, heads, T, head_dim); key, value: (rows, key heads, S, head_dim). Returns
    (rows, T, heads, head_dim) and (rows, heads, T, columns).
    """
    groups = query.shape[1] // key.shape[1]  # heads that share a key head (Ainslie et al. 2023)
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:  # Gemma 2
        scores = (scores / softcap).tanh() * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.float().softmax(-1).to(query.dtype)
    looked_at = weights
    if columns is not None:
        looked_at = weights[..., columns]
        weights = weights.index_copy(-1, columns, looked_at)
    return (weights @ value).transpose(1, 2).contiguous(), looked_at


def attend_and_look(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """`attend` as one of transformers' attention functions: to the module's `photo_columns`."""
    columns = cast("Tensor | None", getattr(module, "photo_columns", None))
    return attend(query, key, value, attention_mask, scaling, columns, softcap)


AttentionInterface.register(LOOKING, attend_and_look)
AttentionMaskInterface.register(LOOKING, eager_mask)


def build_float_mask(visible: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """visible (T, S) bool -> what is added to scores: (rows, 1, T, S), 0 or the lowest number."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).expand(rows, 1, -1, -1)
