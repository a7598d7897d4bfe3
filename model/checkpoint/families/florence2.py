"""Florence-2 (Xiao et al. 2024): a DaViT, and a BART that reads its features with the prompt.

Of `florence-community/Florence-2-*`, whose files are transformers' own.
"""

import math
from pathlib import Path
from typing import cast

from torch import Tensor
from transformers import Florence2Config, Florence2ForConditionalGeneration, PreTrainedConfig

from model.checkpoint.families.prompt_template import ANSWER_LENGTH, PromptTemplate
from model.checkpoint.families.shared import (
    convert_generation_config,
    create_tokenizer,
    find_token_id,
    read_model,
    squash_to_own_size,
)
from model.errors import CheckpointError, OptionError
from model.network.bart_decoder import BartDecoder
from model.network.config import CaptionerConfig
from model.network.network import Network
from model.network.prompt_encoder import PromptEncoder

# what it was trained to be asked, by the names that its own processor replaces
QUESTIONS = {
    "<CAPTION>": "What does the image describe?",
    "<DETAILED_CAPTION>": "Describe in detail what is shown in the image.",
    "<MORE_DETAILED_CAPTION>": "Describe with a paragraph what is shown in the image.",
}
FORCED = {"forced_bos_token_id", "forced_eos_token_id"}


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`."""
    config = Florence2Config.from_pretrained(folder)
    vision = cast(PreTrainedConfig, config.vision_config)
    if vision.model_type == "davit":  # Microsoft's own, whose program transformers does not hold
        raise CheckpointError(
            f"{folder}: needs a program of its own, and none from elsewhere is run; take the same "
            "weights from florence-community/Florence-2-base (or -large, or their -ft)"
        )
    model, tokenizer, processor = read_model(
        Florence2ForConditionalGeneration, folder, allow_pickle
    )
    text = cast(PreTrainedConfig, model.config.text_config)
    size = squash_to_own_size(processor, folder)
    encoder = PromptEncoder(
        [model.model.vision_tower, model.model.multi_modal_projector],
        lambda pixels: _embed_photos(model, pixels),
        size,
        math.prod(vision.patch_stride),
        num_prefix_tokens=1,  # the mean over the grid
    )
    settings = [model.generation_config, model.config, text]
    ids = {
        name: find_token_id(f"{name}_token_id", settings, text.vocab_size, folder)
        for name in ("decoder_start", "eos")
    }
    start = find_token_id("forced_bos_token_id", settings, text.vocab_size, folder)
    words = create_tokenizer(tokenizer, start, [ids["eos"]], text.vocab_size, folder)
    template = PromptTemplate(tokenizer, cast(str, tokenizer.bos_token), tokenizer.eos_token)
    first = BartDecoder(
        model, encoder.num_tokens, template.tokenize(QUESTIONS["<CAPTION>"]), ids["decoder_start"]
    )

    def build(asked: str) -> Network:
        prompt = template.tokenize(QUESTIONS.get(asked.strip(), asked))
        if encoder.num_tokens + len(prompt) > text.max_position_embeddings:
            raise OptionError(
                f"photo and prompt have {encoder.num_tokens} + {len(prompt)} tokens, their encoder "
                f"{text.max_position_embeddings} positions"
            )
        decoder = BartDecoder(
            model, encoder.num_tokens, prompt, ids["decoder_start"], first.positions
        )
        config = CaptionerConfig(
            encoder=vision.to_diff_dict() | {"hidden_size": text.d_model},
            image_size=size,
            vocab_size=text.vocab_size,
            max_length=decoder.max_length,
            width=text.d_model,
            num_layers=text.decoder_layers,
            num_heads=text.decoder_attention_heads,
            decoding=convert_generation_config(
                model.generation_config,
                decoder.max_length,
                folder,
                num_forced=2,
                unset_length=ANSWER_LENGTH,
                known=FORCED,
            ),
        )
        return Network(config, words, processor, encoder, decoder).take_prompts(asked, build).eval()

    try:
        return build(QUESTIONS["<CAPTION>"])
    except OptionError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _embed_photos(model: Florence2ForConditionalGeneration, pixel_values: Tensor) -> Tensor:
    """Features (B, 1 + rows·cols, width)."""
    return model.get_image_features(pixel_values).pooler_output
