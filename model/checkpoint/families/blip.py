"""BLIP captioners of transformers (Li et al. 2022): a ViT, and a BERT that looks at it."""

from pathlib import Path
from typing import cast

from transformers import BlipForConditionalGeneration, PreTrainedConfig, PreTrainedModel

from model.checkpoint.families.shared import assemble_network, find_token_id, read_model
from model.network.network import Network
from model.network.transformers_decoder import TransformersDecoder


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `vision_encoder_decoder`."""
    model, tokenizer, processor = read_model(BlipForConditionalGeneration, folder, allow_pickle)
    text = cast(PreTrainedConfig, model.config.text_config)
    # `BlipForConditionalGeneration.generate` begins and ends captions with these, and takes
    # its other settings from the text half's configuration
    start, end = (
        find_token_id(name, [text], text.vocab_size, folder)
        for name in ("bos_token_id", "sep_token_id")
    )
    text_decoder = cast(PreTrainedModel, model.text_decoder)
    return assemble_network(
        folder,
        encoder=cast(PreTrainedModel, model.vision_model),
        decoder=TransformersDecoder(text_decoder, text.max_position_embeddings),
        text_config=text,
        tokenizer=tokenizer,
        processor=processor,
        settings=text_decoder.generation_config,
        start=start,
        end=end,
    )
