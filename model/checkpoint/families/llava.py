"""LLaVA (Liu et al. 2023): a CLIP's patches, brought to the width of a Llama's words."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaModel, PreTrainedConfig

from model.checkpoint.families.prompted import read_prompted_network
from model.errors import CheckpointError
from model.network.network import Network

TOWERS = ("clip_vision_model", "siglip_vision_model")


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`."""
    config = LlavaConfig.from_pretrained(folder)
    vision = cast(PreTrainedConfig, config.vision_config)
    if vision.model_type not in TOWERS:
        raise CheckpointError(
            f"{folder}: its image encoder is {vision.model_type!r}; "
            f"these can be read: {', '.join(TOWERS)}"
        )
    has_class_token = vision.model_type == "clip_vision_model"
    keeps_it = has_class_token and config.vision_feature_select_strategy == "full"
    return read_prompted_network(
        LlavaForConditionalGeneration,
        folder,
        allow_pickle,
        parts=("vision_tower", "multi_modal_projector"),
        joined_patches=1,
        template="USER: {photo}\n{question} ASSISTANT:",
        embed=_embed_photos,
        num_prefix_tokens=int(keeps_it),
    )


def _embed_photos(core: LlavaModel, pixel_values: Tensor) -> Tensor:
    """Features (B, S, width)."""
    return torch.stack(list(core.get_image_features(pixel_values).pooler_output))
