"""Idefics3 (Laurençon et al. 2024) and SmolVLM (Marafioti et al. 2025), which is built like it:
square groups of a SigLIP's patches become one feature each, read by a Llama."""

from pathlib import Path

from torch import Tensor
from transformers import (
    AutoConfig,
    Idefics3ForConditionalGeneration,
    Idefics3Model,
    SmolVLMForConditionalGeneration,
    SmolVLMModel,
)

from model.checkpoint.families.prompted import read_prompted_network
from model.network.network import Network

KINDS = {
    "idefics3": Idefics3ForConditionalGeneration,
    "smolvlm": SmolVLMForConditionalGeneration,
}
AROUND = "<fake_token_around_image>"


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`.

    The photo is seen once, as a whole: its finer tiles, which the family's own processor adds, are
    not read.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return read_prompted_network(
        KINDS[config.model_type],
        folder,
        allow_pickle,
        parts=("vision_model", "connector"),
        joined_patches=config.scale_factor,
        around=(f"{AROUND}<global-img>", AROUND),
        template="<|im_start|>User:{photo}{question}<end_of_utterance>\nAssistant:",
        embed=_embed_photos,
    )


def _embed_photos(core: Idefics3Model | SmolVLMModel, pixel_values: Tensor) -> Tensor:
    """Features (B, S, width). `get_image_features` would take a plain grey photo, which is all
    zeros, for padding."""
    return core.connector(core.vision_model(pixel_values=pixel_values).last_hidden_state)
