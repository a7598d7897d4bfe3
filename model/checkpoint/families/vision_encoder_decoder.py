"""`VisionEncoderDecoderModel` of transformers: a ViT and a text decoder, each of several kinds.

A plain GPT-2 becomes our own decoder (`vit_gpt2`); others stay transformers' own.
"""

from pathlib import Path
from typing import cast

from transformers import (
    GPT2LMHeadModel,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)

from model.checkpoint.families import vit_gpt2
from model.checkpoint.families.shared import assemble_network, find_token_id, read_model
from model.errors import CheckpointError
from model.network.encoder_families import check_encoder
from model.network.image_processor import ImageProcessor
from model.network.network import Network
from model.network.transformers_decoder import TransformersDecoder

DECODERS = ("gpt2", "bert", "roberta")


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout.

    allow_pickle: read pickled weights (of tensors alone, nothing in them runs) where there are no
        safetensors.

    Raises CheckpointError, in one line, for another encoder or decoder, weights that do not fit
    (they are listed) or that are pickled, and settings that cannot be followed.
    """
    config = VisionEncoderDecoderConfig.from_pretrained(folder)
    check_encoder(cast(PreTrainedConfig, config.encoder).model_type)
    decoder = cast(PreTrainedConfig, config.decoder)
    if decoder.model_type not in DECODERS:
        raise CheckpointError(
            f"{folder}: its decoder is {decoder.model_type!r}; "
            f"these can be read: {', '.join(DECODERS)}"
        )
    if not decoder.add_cross_attention or (decoder.model_type != "gpt2" and not decoder.is_decoder):
        raise CheckpointError(
            f"{folder}: its decoder has no cross-attention or sees later words; "
            "is_decoder and add_cross_attention must be true"
        )
    return assemble(*read_model(VisionEncoderDecoderModel, folder, allow_pickle), folder)


def assemble(
    model: VisionEncoderDecoderModel,
    tokenizer: PreTrainedTokenizerFast,
    processor: ImageProcessor,
    folder: Path,
) -> Network:
    """Our network from transformers' parts, which it shares."""
    config, settings = cast(PreTrainedConfig, model.config.decoder), model.generation_config
    projection = getattr(model, "enc_to_dec_proj", None)
    ours = vit_gpt2.is_ours(model.decoder)
    gpt2 = cast(GPT2LMHeadModel, model.decoder)  # where it is ours
    positions = config.max_position_embeddings
    if config.model_type == "roberta":  # which counts from behind the padding's
        positions -= config.pad_token_id + 1
    configs = [settings, model.config, config]
    has_start = any(getattr(c, "decoder_start_token_id", None) is not None for c in configs)
    start, end = (
        find_token_id(name, configs, config.vocab_size, folder)
        for name in ("decoder_start_token_id" if has_start else "bos_token_id", "eos_token_id")
    )
    if config.model_type == "roberta" and start == config.pad_token_id:
        raise CheckpointError(f"{folder}: RoBERTa's start token may not be its padding")
    network = assemble_network(
        folder,
        encoder=model.encoder,
        decoder=None if ours else TransformersDecoder(model.decoder, positions, projection),
        text_config=config,
        tokenizer=tokenizer,
        processor=processor,
        settings=settings,
        start=start,
        end=end,
        mlp_ratio=vit_gpt2.get_mlp_ratio(gpt2) if ours else 4.0,
        project_image=projection is not None,
    )
    if ours:
        network.decoder.load_state_dict(vit_gpt2.rename_gpt2_tensors(gpt2, projection))
    return network
