"""The image encoder of a configuration, of a network of transformers, or of a name on the hub."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from model.errors import CheckpointError
from model.network.encoder import ImageEncoder
from model.network.vit import ViT
from model.network.vit_config import FAMILIES, read_vit_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OF_TRANSFORMERS = ("dinov3_vit", "beit", "swin")  # which are not our ViT


def check_encoder(model_type: str) -> None:
    """Raises CheckpointError for a kind of encoder that is not supported."""
    if model_type not in (*FAMILIES, *OF_TRANSFORMERS):
        raise CheckpointError(
            f"image encoder {model_type!r} is not supported; "
            f"choose one of {', '.join((*FAMILIES, *OF_TRANSFORMERS))}"
        )


def create_encoder(config: Mapping[str, Any], image_size: tuple[int, int]) -> ImageEncoder:
    """A new encoder with random weights, from what transformers' `config.json` says.

    Raises CheckpointError for one that is not supported or does not fit the image size.
    """
    check_encoder(config["model_type"])
    if config["model_type"] in FAMILIES:
        return ViT(read_vit_config(config), image_size)
    from transformers import AutoConfig, AutoModel

    from model.network.transformers_encoder import TransformersEncoder

    backbone = AutoModel.from_config(AutoConfig.for_model(**config), trust_remote_code=False)
    return TransformersEncoder(backbone, image_size)


def convert_encoder(model: "PreTrainedModel", image_size: tuple[int, int]) -> ImageEncoder:
    """The encoder of a network of transformers, whose tensors it shares.

    Raises CheckpointError for one that is not supported or does not fit the image size.
    """
    family = model.config.model_type
    check_encoder(family)
    if family not in FAMILIES:
        from model.network.transformers_encoder import TransformersEncoder

        return TransformersEncoder(model, image_size)
    with torch.device("meta"):  # no memory: the tensors are there already
        encoder = ViT(read_vit_config(model.config.to_dict()), image_size)
    encoder.load_state_dict(model.state_dict(), assign=True)
    return encoder.requires_grad_(True)


def load_encoder(name: str, image_size: tuple[int, int]) -> tuple[ImageEncoder, dict[str, Any]]:
    """A pretrained encoder from a folder or the hub, e.g. "facebook/dinov2-small", and its
    configuration; of CLIP or SigLIP the vision half is taken.

    Raises CheckpointError for one that is not supported or does not fit the image size.
    """
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    config = getattr(config, "vision_config", config)
    check_encoder(config.model_type)  # before anything is downloaded
    if hasattr(config, "vision_use_head"):
        config.vision_use_head = False  # SigLIP's pooling head, which we would not use
    model = AutoModel.from_pretrained(
        name, config=config, use_safetensors=True, dtype=torch.float32, trust_remote_code=False
    )
    return convert_encoder(model, image_size), config.to_diff_dict()
