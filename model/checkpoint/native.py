"""Our own format: `config.json`, `model.safetensors`, `tokenizer.json`, `preprocessor_config.json`,
and `familiarity.safetensors` where the captioner can tell unfamiliar photos."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model.checkpoint.hub import WEIGHTS
from model.checkpoint.limits import check_settings
from model.checkpoint.problems import blame_file, check_fit
from model.errors import CheckpointError, OptionError
from model.explain.familiarity import FAMILIARITY, Familiarity
from model.network.config import FORMAT, CaptionerConfig
from model.network.encoder_families import OF_TRANSFORMERS, check_encoder, create_encoder
from model.network.image_processor import load_image_processor
from model.network.network import Network
from model.network.tokenizer import CaptionTokenizer
from model.search.generation import choose_options


def is_captioner(folder: Path) -> bool:
    """Whether a folder's `config.json` says that it is of our format."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("model_type") == FORMAT


def read_network(folder: Path) -> Network:
    """The network in a folder of our format, ready to run.

    Raises CheckpointError, in one line, for what is not a captioner or does not fit: missing,
    unexpected or wrong-shaped tensors are listed, and nothing runs on random weights.
    """
    check_settings(folder)
    config = CaptionerConfig.load(folder)
    check_encoder(config.encoder["model_type"])
    if "hidden_size" not in config.encoder:
        raise CheckpointError(f"{folder / 'config.json'}: encoder has no hidden_size")
    tokenizer = CaptionTokenizer.load(folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, "
            f"config.json says {config.vocab_size}"
        )
    if not all(0 <= token < config.vocab_size for token in (tokenizer.start, tokenizer.end)):
        raise CheckpointError(f"{folder}: its start or end token is not in the vocabulary")
    if not (folder / "preprocessor_config.json").is_file():
        raise CheckpointError(f"{folder / 'preprocessor_config.json'}: missing")
    with blame_file(folder / "preprocessor_config.json"):
        processor = load_image_processor(folder)
    try:
        choose_options(config)
    except OptionError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
    with blame_file(folder / "config.json"):  # sizes that make no network
        # no memory, until the sizes are known to fit the file
        with torch.device("meta"), NoRandomWeights():
            network = Network(config, tokenizer, processor)
        weights = read_weights(
            network, folder / WEIGHTS, partial(network.encoder.rename_state, prefix="encoder.")
        )
        if config.encoder["model_type"] in OF_TRANSFORMERS:
            # they compute some of their buffers, which no file has
            with NoRandomWeights():
                network.encoder = create_encoder(config.encoder, config.image_size)
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(True).eval()


def write_checkpoint(
    network: Network,
    familiarity: Familiarity | None,
    folder: Path,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a folder of our format.

    Raises CheckpointError, before anything is written, for weights that are not finite in `dtype`.
    """
    write_weights(network, folder, dtype)
    network.config.save(folder)
    network.tokenizer.save(folder)
    network.image_processor.save_pretrained(folder)
    if familiarity:
        familiarity.save(folder)
    else:  # what an earlier captioner left here does not fit these weights
        (folder / FAMILIARITY).unlink(missing_ok=True)


def write_weights(network: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    """Write a network's tensors into the folder, which is made; raises as `write_checkpoint`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to("cpu", dtype).contiguous() for k, v in network.state_dict().items()}
    if broken := [k for k, v in weights.items() if not v.isfinite().all()]:
        raise CheckpointError(f"{', '.join(broken[:5])}: not finite in {dtype}; nothing saved")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


class NoRandomWeights(TorchFunctionMode):
    """New layers keep the weights that they happen to have: others are read from the file. (On the
    device "meta", where they have none, torch imports its compiler to draw random numbers.)"""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def read_weights(
    network: nn.Module,
    path: Path,
    rename_state: Callable[[dict[str, Tensor]], object] | None = None,
) -> dict[str, Tensor]:
    """The tensors of a safetensors file in float32, by the network's names.

    rename_state: brings names of earlier versions, in place, to those of today.

    Raises CheckpointError unless they are what fits the network, and finite.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; a captioner's weights are kept as safetensors")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
    if rename_state:
        rename_state(weights)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problems = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "wrong shape": [
            f"{name} is {tuple(weights[name].shape)}, not {shape}"
            for name, shape in expected.items()
            if name in weights and tuple(weights[name].shape) != shape
        ],
        "not finite": [name for name, tensor in weights.items() if not tensor.isfinite().all()],
    }
    check_fit(path, problems)
    # copies: the file may be replaced while the captioner runs
    return {name: weights.pop(name).to(torch.float32, copy=True) for name in expected}
