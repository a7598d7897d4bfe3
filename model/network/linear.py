"""A linear layer that multiplies a few rows in the order processors do it faster."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_ROWS = 8


class Linear(nn.Linear):
    """torch's linear layer; see `multiply`."""

    def forward(self, x: Tensor) -> Tensor:
        return multiply(x, self.weight, self.bias)


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) times the transposed weight (out, in), plus bias (out,): (..., out).

    A step of a search has a row for each beam. On a CPU, captions were written 1.2 to 1.5 times as
    fast with `weight @ x.T` for so few rows (MKL, AVX-512), unless more comes in than goes out; one
    row is computed twice, which is faster still.
    """
    rows = x.numel() // x.shape[-1]
    is_step = 0 < rows <= 2 or (2 < rows <= FEW_ROWS and len(weight) >= weight.shape[1])
    if not is_step or torch.is_grad_enabled() or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    columns = x.reshape(rows, -1).expand(max(rows, 2), -1).contiguous().t()
    product = weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)
    # attention has a kernel for vectors that lie in one piece only
    return product[:, :rows].t().contiguous().view(*x.shape[:-1], -1)
