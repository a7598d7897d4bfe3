"""Which parts of a captioner learn, at which rates; low-rank adapters where these are wanted."""

import argparse
import copy

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from model.captioner import Captioner
from model.errors import DataError

TUNE = ("decoder", "cross-attention", "lora")


def choose_parts(captioner: Captioner, settings: argparse.Namespace) -> None:
    """Let the chosen parts learn, and freeze the rest.

    The text side is the decoder, its cross-attention (with the norms before it), or adapters beside
    its linear layers (LoRA, Hu et al. 2021: W + BA·α/r with α = 2r). The encoder learns at a
    rate above 0: all of it, or its last blocks and its last norm; with LoRA, adapters there too.

    Raises DataError when the encoder has fewer blocks than asked for.
    """
    captioner.requires_grad_(False)
    decoder = [captioner.decoder]
    if settings.tune == "cross-attention":
        decoder = [captioner.decoder.image_projection]
        for block in captioner.decoder.blocks:
            decoder += [block.cross_attn_norm, block.cross_attn]
    encoder = _encoder_parts(captioner, settings.encoder_blocks) if settings.encoder_rate else []
    if settings.tune != "lora":
        for module in decoder + encoder:
            module.requires_grad_(True)
        return
    chosen = {id(m) for part in decoder + encoder for m in part.modules()}
    linear = [
        name
        for name, module in captioner.named_modules()
        if isinstance(module, nn.Linear) and id(module) in chosen
    ]
    rank = settings.lora_rank
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear)
    inject_adapter_in_model(config, captioner)


def _encoder_parts(captioner: Captioner, blocks: int | None) -> list[nn.Module]:
    backbone = captioner.encoder.backbone
    if blocks is None:
        return [backbone]
    # every ViT keeps its blocks in a list, under one name or another
    layers = max((m for m in backbone.modules() if isinstance(m, nn.ModuleList)), key=len)
    if blocks > len(layers):
        raise DataError(f"--encoder-blocks {blocks}: the encoder has {len(layers)}")
    norms = [m for m in backbone.children() if isinstance(m, nn.LayerNorm)]
    return [*layers[-blocks:], *norms]


def merged(captioner: Captioner) -> Captioner:
    """A captioner as others know it: a copy with its adapters merged, or itself without any."""
    if not any(isinstance(m, BaseTunerLayer) for m in captioner.modules()):
        return captioner
    plain = copy.deepcopy(captioner)
    for name, module in list(plain.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(plain.get_submodule(parent), child, module.get_base_layer())
    return plain


def parameter_groups(learner: nn.Module, settings: argparse.Namespace) -> list[dict]:
    """Two rates (encoder, all else), and weight decay for matrices alone."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, p in learner.named_parameters():
        if not p.requires_grad:
            continue
        of_encoder = name.startswith("captioner.encoder.")
        rate = settings.encoder_rate if of_encoder else settings.rate
        decay = settings.weight_decay if p.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(p)
    return [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()]
