"""The part of a transformer's block that works on each position by itself."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.linear import Linear


class MLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden_width: int, activation: Callable[[Tensor], Tensor]):
        super().__init__()
        self.up = Linear(width, hidden_width)
        self.down = Linear(hidden_width, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class SwiGLU(nn.Module):
    """An MLP with a gate: down(SiLU(gate(x)) · up(x)) (Shazeer 2020, "GLU Variants Improve
    Transformer")."""

    def __init__(self, width: int, hidden_width: int):
        super().__init__()
        self.gate = Linear(width, hidden_width)
        self.up = Linear(width, hidden_width)
        self.down = Linear(hidden_width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def gelu_tanh(x: Tensor) -> Tensor:
    """GPT-2's GELU, by the tanh approximation (Hendrycks and Gimpel 2016, section 2)."""
    return F.gelu(x, approximate="tanh")
