"""GIT captioners of transformers (Wang et al. 2022): a CLIP's patches, and a BERT that reads them
and its own words as one sequence."""

from pathlib import Path

from transformers import GitForCausalLM

from model.checkpoint.families.shared import assemble_network, find_token_id, read_model
from model.errors import CheckpointError
from model.network.git_decoder import GitDecoder
from model.network.network import Network


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `vision_encoder_decoder`."""
    model, tokenizer, processor = read_model(GitForCausalLM, folder, allow_pickle)
    config, configs = model.config, [model.generation_config, model.config]
    if config.num_image_with_embedding is not None:
        raise CheckpointError(f"{folder}: a GIT that describes films, not photos")
    start, end = (
        find_token_id(name, configs, config.vocab_size, folder)
        for name in ("bos_token_id", "eos_token_id")
    )
    encoder = model.git.image_encoder
    model.git.register_module("image_encoder", None)  # it becomes ours
    return assemble_network(
        folder,
        encoder=encoder,
        decoder=GitDecoder(model),
        text_config=config,
        tokenizer=tokenizer,
        processor=processor,
        settings=model.generation_config,
        start=start,
        end=end,
    )
