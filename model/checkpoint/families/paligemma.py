"""PaliGemma 1 and 2 (Beyer et al. 2024): a SigLIP's patches, and a Gemma that reads photo and
prompt in both directions."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaModel

from model.checkpoint.families.prompted import read_prompted_network
from model.network.network import Network
from model.network.prompt_decoder import PromptDecoder


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`."""
    return read_prompted_network(
        PaliGemmaForConditionalGeneration,
        folder,
        allow_pickle,
        parts=("vision_tower", "multi_modal_projector"),
        joined_patches=1,
        template="{photo}<bos>{question}\n",
        question="caption en",  # what it was trained on for captions
        embed=_embed_photos,
        decoder_kind=PaliGemmaDecoder,
    )


class PaliGemmaDecoder(PromptDecoder):
    """Reads the prompt in both directions, and counts positions from 1."""

    def _describe_prompt(self, ids: Tensor) -> dict[str, Tensor]:
        return {"token_type_ids": torch.zeros_like(ids)}

    def _describe_words(self, positions: Tensor, rows: int, seen: int) -> dict[str, Any]:
        return super()._describe_words(positions + 1, rows, seen)


def _embed_photos(core: PaliGemmaModel, pixel_values: Tensor) -> Tensor:
    """Features (B, S, width)."""
    return core.get_image_features(pixel_values).pooler_output
