"""BLIP captioners of transformers (Li et al. 2022): a ViT, and a BERT that looks at it."""

from pathlib import Path

from transformers import BlipForConditionalGeneration

from model.captioner import Captioner
from model.checkpoint.families.shared import assembled, only_token, read_model
from model.network.transformers_decoder import TransformersDecoder

FAMILY = "blip"


def read(folder: Path, allow_pickle: bool = False) -> Captioner:
    """The captioner in a folder with the hub's layout; see `vision_encoder_decoder.read`."""
    model, tokenizer, processor = read_model(BlipForConditionalGeneration, folder, allow_pickle)
    text = model.config.text_config
    # `BlipForConditionalGeneration.generate` begins and ends captions with these, and takes
    # its other settings from the text half's configuration
    start, end = (
        only_token(name, [text], text.vocab_size, folder)
        for name in ("bos_token_id", "sep_token_id")
    )
    return assembled(
        FAMILY,
        folder,
        encoder=model.vision_model,
        decoder=TransformersDecoder(model.text_decoder, text.max_position_embeddings),
        text_config=text,
        tokenizer=tokenizer,
        processor=processor,
        settings=model.text_decoder.generation_config,
        start=start,
        end=end,
    )
