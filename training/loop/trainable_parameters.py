"""Which parameters are trained, at which rates; low-rank adapters where these are wanted."""

import copy

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from model.errors import OptionError
from model.network.network import Network


def freeze_other_parts(
    network: Network,
    tune: str,
    lora_rank: int | None = None,
    train_encoder: bool = False,
    encoder_blocks: int | None = None,
) -> None:
    """Make the parts that are to be trained trainable, and freeze the rest.

    Args:
        tune: "decoder"; "cross-attention", with the norms before it; or "lora", adapters beside
            the linear layers (Hu et al. 2021: W + BA·α/r with α = 2r).
        lora_rank: r, with "lora".
        train_encoder: train the encoder too; with "lora", adapters in it.
        encoder_blocks: only the last blocks of the encoder and its last norm; all of it if None.

    Raises OptionError when the encoder has fewer blocks than that.
    """
    network.requires_grad_(False)
    parts: list[nn.Module] = [network.decoder]
    if tune == "cross-attention":
        parts = [network.decoder.image_projection]
        for block in network.decoder.blocks:
            parts += [block.cross_attn_norm, block.cross_attn]
    if train_encoder:
        parts += _list_encoder_parts(network, encoder_blocks)
    if tune == "lora":
        _add_adapters(network, parts, lora_rank)
    else:
        for part in parts:
            part.requires_grad_(True)


def _list_encoder_parts(network: Network, num_blocks: int | None) -> list[nn.Module]:
    encoder = network.encoder
    if num_blocks is None:
        return [encoder]
    blocks = encoder.list_blocks()
    if num_blocks > len(blocks):
        raise OptionError(f"--encoder-blocks {num_blocks}: the encoder has {len(blocks)}")
    return [*blocks[-num_blocks:], *encoder.list_final_norms()]


def _add_adapters(network: Network, parts: list[nn.Module], rank: int) -> None:
    modules = {id(module) for part in parts for module in part.modules()}
    linear_layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and id(module) in modules
    ]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear_layers)
    inject_adapter_in_model(config, network)


def merge_adapters(network: Network) -> Network:
    """A copy of the network with its adapters merged, or the network itself without any."""
    if not any(isinstance(module, BaseTunerLayer) for module in network.modules()):
        return network
    merged = copy.deepcopy(network)
    for name, module in list(merged.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(merged.get_submodule(parent), child, module.get_base_layer())
    return merged


def group_parameters(
    learner: nn.Module, rate: float, encoder_rate: float, weight_decay: float
) -> list[dict]:
    """Parameter groups for an optimizer: the encoder at its own rate, and weight decay for
    matrices only."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, p in learner.named_parameters():
        if not p.requires_grad:
            continue
        is_encoder = name.startswith("captioner.encoder.")
        decay = weight_decay if p.dim() > 1 else 0.0
        groups.setdefault((encoder_rate if is_encoder else rate, decay), []).append(p)
    return [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()]
