"""InternVL 2.5 and 3 (Chen et al. 2024) as transformers keeps them (repositories that end in -hf):
square groups of an InternViT's patches become one feature each, read by a Qwen2."""

from pathlib import Path

from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLModel

from model.checkpoint.families.prompted import read_prompted_network
from model.network.network import Network


def read_network(folder: Path, allow_pickle: bool = False) -> Network:
    """The network in a folder with the hub's layout; see `read_prompted_network`.

    The photo is seen once, as a whole, without the tiles that its own processor adds.
    """
    config = InternVLConfig.from_pretrained(folder)
    return read_prompted_network(
        InternVLForConditionalGeneration,
        folder,
        allow_pickle,
        parts=("vision_tower", "multi_modal_projector"),
        joined_patches=round(1 / config.downsample_ratio),
        around=("<img>", "</img>"),
        template="<|im_start|>user\n{photo}\n{question}<|im_end|>\n<|im_start|>assistant\n",
        embed=_embed_photos,
    )


def _embed_photos(core: InternVLModel, pixel_values: Tensor) -> Tensor:
    """Features (B, S, width)."""
    return core.get_image_features(pixel_values).pooler_output
