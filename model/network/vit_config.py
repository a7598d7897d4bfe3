"""What makes a vision transformer, and how transformers says it in a `config.json`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.errors import CheckpointError
from model.network.mlp import gelu_tanh

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),  # CLIP's
    "relu": F.relu,
    "silu": F.silu,
}


# by model_type: what transformers takes where config.json does not say (beside `COMMON`), and what
# of `ViTConfig` the family fixes
COMMON: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
}
DINO: dict[str, Any] = {
    "layer_norm_eps": 1e-6,
    "mlp_ratio": 4,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": ({}, {}),
    "deit": ({}, {"distillation_token": True}),
    "dinov2": (DINO | {"patch_size": 14}, {}),
    "dinov2_with_registers": (DINO | {"num_register_tokens": 4}, {"antialias": True}),
    "clip_vision_model": (
        {"patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
        # its last norm is for the class token alone
        {"input_norm": True, "final_norm": False, "patch_bias": False},
    ),
    "siglip_vision_model": (
        {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
        {"class_token": False},
    ),
    "git_vision_model": (
        {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
        {"input_norm": True, "patch_bias": False},
    ),
    "blip_vision_model": ({"image_size": 384, "layer_norm_eps": 1e-5}, {}),
}
WHOLE_NUMBERS = {  # and the least that each may be
    "hidden_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 1,
    "image_size": 1,
    "patch_size": 1,
    "num_register_tokens": 0,
}


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """What makes a vision transformer.

    Attributes:
        width, num_layers, num_heads, hidden_width: sizes; `hidden_width` is the MLP's.
        patch_size: side of a patch in pixels.
        trained_grid: patches a side of the photos whose positions were learned.
        activation: of the MLP, one of `ACTIVATIONS`; a gated one has SiLU.
        norm_eps: what the norms add to the variance.
        gated: whether the MLP is a SwiGLU.
        layer_scale: the first value of the factors that scale what is added to the residual stream
            (Touvron et al. 2021, "Going deeper with Image Transformers"); None: there are none.
        qkv_bias, patch_bias: whether these linear layers have a bias.
        class_token, distillation_token, num_registers: the prefix tokens, in this order.
        input_norm, final_norm: whether there is one before the first, after the last block.
        antialias: whether positions are antialiased where the grid is smaller than the trained.
    """

    width: int
    num_layers: int
    num_heads: int
    hidden_width: int
    patch_size: int
    trained_grid: int
    activation: str
    norm_eps: float
    gated: bool = False
    layer_scale: float | None = None
    qkv_bias: bool = True
    patch_bias: bool = True
    class_token: bool = True
    distillation_token: bool = False
    num_registers: int = 0
    input_norm: bool = False
    final_norm: bool = True
    antialias: bool = False


def read_vit_config(config: Mapping[str, Any]) -> ViTConfig:
    """Our settings from those of transformers, of one of `FAMILIES`.

    Raises CheckpointError for what makes no network.
    """
    defaults, fixed = FAMILIES[config["model_type"]]
    values = {name: config.get(name, default) for name, default in (COMMON | defaults).items()}
    sides = values["image_size"]
    if isinstance(sides, list | tuple) and len(sides) == 2 and sides[0] == sides[1]:
        values["image_size"] = sides[0]
    _check_values(values)
    hidden_width, gated = values["intermediate_size"], bool(values.get("use_swiglu_ffn"))
    if "mlp_ratio" in values:
        hidden_width = int(values["hidden_size"] * values["mlp_ratio"])
    if gated:  # a third less, for its third matrix
        hidden_width = (int(hidden_width * 2 / 3) + 7) // 8 * 8
    return ViTConfig(
        width=values["hidden_size"],
        num_layers=values["num_hidden_layers"],
        num_heads=values["num_attention_heads"],
        hidden_width=hidden_width,
        patch_size=values["patch_size"],
        trained_grid=values["image_size"] // values["patch_size"],
        activation=values["hidden_act"],
        norm_eps=values["layer_norm_eps"],
        gated=gated,
        layer_scale=values.get("layerscale_value"),
        qkv_bias=bool(values["qkv_bias"]),
        num_registers=values.get("num_register_tokens", 0),
        **fixed,
    )


def _check_values(values: Mapping[str, Any]) -> None:
    for name, least in WHOLE_NUMBERS.items():
        value = values.get(name, least)
        if type(value) is not int or value < least:
            raise CheckpointError(f"{name} must be a whole number from {least}, not {value!r}")
    for name in ("layer_norm_eps", "mlp_ratio", "layerscale_value"):
        value = values.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise CheckpointError(f"{name} must be a number from 0, not {value!r}")
    width, heads = values["hidden_size"], values["num_attention_heads"]
    if width % heads:
        raise CheckpointError(f"hidden_size {width} is not a multiple of {heads} attention heads")
    if values["image_size"] < values["patch_size"] or values["num_channels"] != 3:
        raise CheckpointError("image_size must be at least patch_size, and num_channels 3")
    if not isinstance(values["hidden_act"], str) or values["hidden_act"] not in ACTIVATIONS:
        raise CheckpointError(
            f"hidden_act {values['hidden_act']!r} is not known; choose one of "
            f"{', '.join(ACTIVATIONS)}"
        )
