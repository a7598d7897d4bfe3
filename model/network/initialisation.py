"""The random weights of a new text encoder or decoder."""

from torch import nn


def initialise_weights(network: nn.Module, num_additions: int) -> None:
    """GPT-2's: normal(0.02), no bias, and less for what is added onto the residual stream (Radford
    et al. 2019, section 2.3).

    num_additions: how many times a forward pass adds onto it.
    """
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2:
            onto_residual = name.endswith(("output.weight", "down.weight"))
            std = 0.02 * num_additions**-0.5 if onto_residual else 0.02
            nn.init.normal_(parameter, std=std)
