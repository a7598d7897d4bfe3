"""Gemma 3 (2025) with sight: a SigLIP's patches, averaged in square groups, which the language
model reads in both directions."""

import math
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Model,
    PreTrainedConfig,
)

from model.checkpoint.families.prompted import read_prompted_network
from model.network.network import Network
from model.network.prompt_decoder import PromptDecoder

MARK, END = "<start_of_image>", "<end_of_image>"


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`."""
    config = Gemma3Config.from_pretrained(folder)
    vision = cast(PreTrainedConfig, config.vision_config)
    side = vision.image_size // vision.patch_size
    return read_prompted_network(
        Gemma3ForConditionalGeneration,
        folder,
        allow_pickle,
        parts=("vision_tower", "multi_modal_projector"),
        joined_patches=side // math.isqrt(cast(int, config.mm_tokens_per_image)),
        around=(f"\n\n{MARK}", f"{END}\n\n"),
        mark=MARK,
        template="<start_of_turn>user\n{photo}{question}<end_of_turn>\n<start_of_turn>model\n",
        embed=_embed_photos,
        decoder_kind=Gemma3Decoder,
    )


class Gemma3Decoder(PromptDecoder):
    """Reads the photo in both directions."""

    def _describe_prompt(self, ids: Tensor) -> dict[str, Tensor]:
        return {"token_type_ids": torch.zeros_like(ids).index_fill(1, self.columns, 1)}


def _embed_photos(core: Gemma3Model, pixel_values: Tensor) -> Tensor:
    """Features (B, S, width)."""
    return core.get_image_features(pixel_values).pooler_output
