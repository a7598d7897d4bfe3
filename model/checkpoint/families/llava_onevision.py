"""LLaVA-OneVision (Li et al. 2024): a SigLIP's patches, brought to the width of a Qwen2's words,
and a learned line break behind them."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration, LlavaOnevisionModel

from model.checkpoint.families.prompted import read_prompted_network
from model.network.network import Network


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`.

    The photo is seen once, as a whole, without the finer tiles of its own processor. The line break
    is the photo's prefix token.
    """
    return read_prompted_network(
        LlavaOnevisionForConditionalGeneration,
        folder,
        allow_pickle,
        parts=("vision_tower", "multi_modal_projector"),
        joined_patches=1,
        template="<|im_start|>user {photo}\n{question}<|im_end|><|im_start|>assistant\n",
        embed=_embed_photos,
        num_prefix_tokens=1,
        num_last_tokens=1,
    )


def _embed_photos(core: LlavaOnevisionModel, pixel_values: Tensor) -> Tensor:
    """Features (B, 1 + S, width). `get_image_features` would cut a single photo into tiles."""
    read = core.vision_tower(pixel_values, output_hidden_states=True)
    patches = read.hidden_states[core.config.vision_feature_layer]
    features = core.multi_modal_projector(patches)
    line_break = core.image_newline.expand(len(features), 1, -1)
    return torch.cat([line_break, features], 1)
