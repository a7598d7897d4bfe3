"""A translator's folder: `config.json`, `model.safetensors` and `tokenizer.json`."""

from pathlib import Path

import torch

from model.checkpoint.hub import WEIGHTS
from model.checkpoint.limits import check_settings
from model.checkpoint.native import NoRandomWeights, read_weights, write_weights
from model.checkpoint.problems import blame_file
from model.errors import CheckpointError, OptionError
from model.search.generation import choose_options
from model.translation.config import TranslatorConfig
from model.translation.network import TranslatorNetwork
from model.translation.tokenizer import TranslatorTokenizer


def read_translator(folder: Path) -> TranslatorNetwork:
    """The network in a translator's folder, ready to run.

    Raises CheckpointError, in one line, for what is not a translator or does not fit.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give a translator's")
    check_settings(folder)
    config = TranslatorConfig.load(folder)
    tokenizer = TranslatorTokenizer.load(folder)
    ids = (tokenizer.vocab_size - 1, tokenizer.end, *tokenizer.starts.values())
    if max(ids) >= config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {max(ids) + 1} tokens, config.json says "
            f"{config.vocab_size}"
        )
    try:
        choose_options(config)
    except OptionError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
    with blame_file(folder / "config.json"):  # sizes that make no network
        with torch.device("meta"), NoRandomWeights():
            network = TranslatorNetwork(config, tokenizer)
        weights = read_weights(network, folder / WEIGHTS)
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(True).eval()


def write_translator(
    network: TranslatorNetwork, folder: Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write a translator's folder.

    Raises CheckpointError, before anything is written, for weights that are not finite in `dtype`.
    """
    write_weights(network, folder, dtype)
    network.config.save(folder)
    network.tokenizer.save(folder)
