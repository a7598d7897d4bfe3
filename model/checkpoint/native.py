"""Our own format: `config.json`, `model.safetensors`, `tokenizer.json`, `preprocessor_config.json`,
and `familiarity.safetensors` where the captioner can tell unfamiliar photos."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import AutoImageProcessor
from transformers.initialization import no_init_weights

from model.checkpoint.hub import WEIGHTS
from model.checkpoint.limits import check_settings
from model.checkpoint.problems import blame_file, check_fit
from model.errors import CheckpointError, OptionError
from model.explain.familiarity import FAMILIARITY, Familiarity
from model.network.config import CaptionerConfig
from model.network.encoder import check_encoder
from model.network.network import Network
from model.network.tokenizer import CaptionTokenizer
from model.search.generation import choose_options


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
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    try:
        choose_options(config)
    except OptionError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
    with blame_file(folder / "config.json"):  # sizes that make no network
        with torch.device("meta"):  # no memory, until the sizes are known to fit the file
            planned = Network(config, tokenizer, processor)
        _check_weights(planned, folder / WEIGHTS)
        with no_init_weights():  # every weight is read from the file
            network = Network(config, tokenizer, processor)
    _read_weights(network, folder / WEIGHTS)
    return network.eval()


def write_checkpoint(
    network: Network,
    familiarity: Familiarity | None,
    folder: Path,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a folder of our format.

    Raises CheckpointError, before anything is written, for weights that are not finite in `dtype`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to("cpu", dtype).contiguous() for k, v in network.state_dict().items()}
    if broken := [k for k, v in weights.items() if not v.isfinite().all()]:
        raise CheckpointError(f"{', '.join(broken[:5])}: not finite in {dtype}; nothing saved")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    network.config.save(folder)
    network.tokenizer.save(folder)
    network.image_processor.save_pretrained(folder)
    if familiarity:
        familiarity.save(folder)
    else:  # what an earlier captioner left here does not fit these weights
        (folder / FAMILIARITY).unlink(missing_ok=True)


def _check_weights(network: Network, path: Path) -> None:
    """Raises CheckpointError unless a safetensors file holds what fits the network."""
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; a captioner's weights are kept as safetensors")
    expected = network.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
    problems = {
        "missing": [k for k in expected if k not in shapes],
        "unexpected": [k for k in shapes if k not in expected],
        "wrong shape": [
            f"{k} is {shapes[k]}, not {tuple(v.shape)}"
            for k, v in expected.items()
            if k in shapes and shapes[k] != tuple(v.shape)
        ],
    }
    check_fit(path, problems)


@torch.no_grad()
def _read_weights(network: Network, path: Path) -> None:
    """Read a safetensors file that fits into the network."""
    with safe_open(path, framework="pt") as file:
        for key, tensor in network.state_dict().items():
            tensor.copy_(file.get_tensor(key))
            if not tensor.isfinite().all():
                raise CheckpointError(f"{path}: {key} has numbers that are not finite")
