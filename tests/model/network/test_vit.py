"""Our vision transformer beside transformers' own classes, at random weights: each family that it
stands for."""

import pytest
import torch
from transformers import (
    AutoModel,
    CLIPVisionConfig,
    DeiTConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    SiglipVisionConfig,
    ViTConfig,
)
from transformers.models.blip.modeling_blip import BlipVisionConfig, BlipVisionModel

from model.network.encoder_families import convert_encoder, create_encoder
from model.network.vit_config import COMMON, FAMILIES

SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
TRAINED = dict(**SMALL, image_size=56, patch_size=14)
WITH_MLP = dict(**TRAINED, intermediate_size=48)
CONFIGS = {  # and how many tokens stand before the patches
    "vit": (ViTConfig(**WITH_MLP), 1),
    "vit without biases": (ViTConfig(**WITH_MLP, qkv_bias=False, hidden_act="gelu_new"), 1),
    "deit": (DeiTConfig(**WITH_MLP), 2),
    "dinov2": (Dinov2Config(**TRAINED, mlp_ratio=2), 1),
    "dinov2 with SwiGLU": (Dinov2Config(**TRAINED, use_swiglu_ffn=True), 1),
    "registers": (Dinov2WithRegistersConfig(**TRAINED, mlp_ratio=2, num_register_tokens=3), 4),
    "clip": (CLIPVisionConfig(**WITH_MLP), 1),
    "siglip": (SiglipVisionConfig(**WITH_MLP), 0),
    "blip": (BlipVisionConfig(**WITH_MLP), 1),
}
STRETCHES_UNASKED = ("dinov2", "dinov2_with_registers")
EXACT = dict(atol=1e-5, rtol=1e-5)


def create_theirs(config):
    """transformers' network with weights from everywhere, and its arguments."""
    torch.manual_seed(0)
    is_blip = config.model_type == "blip_vision_model"
    network = BlipVisionModel(config) if is_blip else AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    network.set_attn_implementation("eager")  # the only one that gives weights
    unasked = config.model_type in STRETCHES_UNASKED
    return network.eval(), {} if unasked else {"interpolate_pos_encoding": True}


@pytest.mark.parametrize("image_size", [(56, 56), (42, 84), (28, 28), (112, 98)], ids=str)
@pytest.mark.parametrize("family", CONFIGS)
@torch.inference_mode()
def test_features_and_weights_are_those_of_transformers(family, image_size):
    config, num_prefix_tokens = CONFIGS[family]
    theirs, arguments = create_theirs(config)
    ours = convert_encoder(theirs, image_size).eval()
    pixels = torch.randn(2, 3, *image_size)
    expected = theirs(pixels, output_attentions=True, **arguments)
    features, weights = ours.with_attention(pixels)
    torch.testing.assert_close(features, expected.last_hidden_state, **EXACT)
    assert len(weights) == 2
    for layer, expected_layer in zip(weights, expected.attentions, strict=True):
        torch.testing.assert_close(layer, expected_layer, **EXACT)
    torch.testing.assert_close(ours(pixels), features, **EXACT)  # the fused kernel
    rows, cols = image_size[0] // 14, image_size[1] // 14
    assert ours.grid_size == (rows, cols) and ours.num_prefix_tokens == num_prefix_tokens
    assert features.shape == (2, num_prefix_tokens + rows * cols, 32)
    assert ours.num_tokens == features.shape[1]


@pytest.mark.parametrize("family", CONFIGS)
def test_gradients_are_those_of_transformers(family):
    config, _ = CONFIGS[family]
    theirs, arguments = create_theirs(config)
    ours = convert_encoder(theirs, (28, 56))
    pixels, target = torch.randn(2, 3, 28, 56), torch.randn(32)
    name = "patch_embedding.weight"
    (ours(pixels) * target).sum().backward()
    (theirs(pixels, **arguments).last_hidden_state * target).sum().backward()
    gradient = dict(ours.named_parameters())[name].grad
    (expected,) = (p.grad for p in theirs.parameters() if p.dim() == 4)
    scale = expected.abs().max()
    torch.testing.assert_close(gradient / scale, expected / scale, **EXACT)


@pytest.mark.parametrize("family", CONFIGS)
@torch.inference_mode()
def test_some_patches_alone_are_those_of_a_photo_with_holes(family):
    """The others are nowhere: not in the tokens, and in no weight."""
    config, num_prefix_tokens = CONFIGS[family]
    encoder = convert_encoder(create_theirs(config)[0], (42, 84)).eval()
    pixels = torch.randn(2, 3, 42, 84)
    everything = torch.arange(18).expand(2, -1)
    torch.testing.assert_close(encoder(pixels, everything), encoder(pixels), **EXACT)
    visible = torch.tensor([[3, 0, 17], [5, 6, 7]])
    painted = pixels.clone()
    painted[0, :, 14:28] = 5.0  # the second row of patches, of which none is visible in the first
    torch.testing.assert_close(encoder(painted, visible)[0], encoder(pixels, visible)[0])
    assert encoder(pixels, visible).shape == (2, num_prefix_tokens + 3, 32)
    # each stands where it was: in another order the same tokens come
    turned = encoder(pixels, visible.flip(1))[:, num_prefix_tokens:].flip(1)
    torch.testing.assert_close(turned, encoder(pixels, visible)[:, num_prefix_tokens:], **EXACT)


@pytest.mark.parametrize("family", CONFIGS)
@torch.inference_mode()
def test_patches_come_row_by_row_after_the_prefix(family):
    config, num_prefix_tokens = CONFIGS[family]
    encoder = create_encoder(config.to_dict(), (42, 84)).eval()
    blank = torch.zeros(1, 3, 42, 84)
    painted = blank.clone()
    painted[:, :, 14:28, 42:56] = 3.0  # row 1, column 3 of 3 × 6
    change = (encoder.embed(painted) - encoder.embed(blank)).abs().sum(-1)[0]
    assert change.argmax() == num_prefix_tokens + 1 * 6 + 3
    assert (change > 1e-6).sum() == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_what_config_json_leaves_out_is_as_transformers_has_it(family):
    from transformers import AutoConfig

    theirs = AutoConfig.for_model(family)
    defaults = COMMON | FAMILIES[family][0]
    told = {name: value for name, value in defaults.items() if hasattr(theirs, name)}
    assert told == {name: getattr(theirs, name) for name in told}
    missing = set(defaults) - set(told)
    assert missing <= {"qkv_bias", "intermediate_size", "num_channels"}, missing
