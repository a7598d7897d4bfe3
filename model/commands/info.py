"""`python -m model info`: what a checkpoint is made of."""

import argparse

from torch import nn

from model.commands.inputs import add_checkpoint_option, add_pickle_option, load_captioner

HELP = "describe a checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_option(parser)
    add_pickle_option(parser)


def run(settings: argparse.Namespace) -> int:
    """Print what a checkpoint is made of."""
    captioner = load_captioner(settings.checkpoint, settings.allow_pickle)
    network = captioner.network
    config, encoder = network.config, network.encoder
    rows, cols = encoder.grid_size
    facts = {
        "checkpoint": captioner.name,
        "family": captioner.family,
        "encoder": f"{config.encoder['model_type']}, {_count_parameters(encoder)}",
        "image": f"{config.image_size[0]} × {config.image_size[1]} pixels, {rows} × {cols} patches"
        f" and {encoder.num_prefix_tokens} prefix tokens, {config.image_width} wide",
        "decoder": f"{config.num_layers} layers, {config.num_heads} heads, {config.width} wide, "
        f"{_count_parameters(network.decoder)}",
        "tokens": f"{config.vocab_size} in the vocabulary, captions up to {config.max_length - 1}",
        "decoding": ", ".join(f"{k} {v}" for k, v in config.decoding.items()) or "defaults",
    }
    for name, fact in facts.items():
        print(f"{name + ':':<12}{fact}")
    return 0


def _count_parameters(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} million parameters"
