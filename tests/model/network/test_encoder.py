"""What every image encoder does: reading pretrained ones, patch dropout, and the plain photo."""

import copy

import pytest
import torch
from transformers import (
    AutoModel,
    BeitConfig,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    ResNetConfig,
    SiglipVisionConfig,
    SwinConfig,
    ViTConfig,
)

from model.errors import CheckpointError, OptionError
from model.network.encoder_families import create_encoder, load_encoder
from model.network.transformers_encoder import TransformersEncoder
from model.network.vit import ViT

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56)
PATCHES = dict(patch_size=14)
DINO = Dinov2Config(**SIZES, **PATCHES, mlp_ratio=2)
REGISTERS = Dinov2WithRegistersConfig(**SIZES, **PATCHES, mlp_ratio=2, num_register_tokens=4)
CLIP = CLIPVisionConfig(**SIZES, **PATCHES, intermediate_size=64)
SIGLIP = SiglipVisionConfig(**SIZES, **PATCHES, intermediate_size=64)
BEIT = BeitConfig(**SIZES, **PATCHES, intermediate_size=64, use_relative_position_bias=True)
DINO3 = DINOv3ViTConfig(**SIZES, **PATCHES, intermediate_size=64, num_register_tokens=4)
SWIN = SwinConfig(
    image_size=56, patch_size=7, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
)


@pytest.mark.parametrize("config", [DINO, REGISTERS, SIGLIP, ViTConfig(**SIZES, **PATCHES)])
@torch.inference_mode()
def test_a_pretrained_encoder_is_read_from_a_folder(config, tmp_path):
    """With the hub's names of the tensors, which those in memory are not."""
    torch.manual_seed(0)
    theirs = AutoModel.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    encoder, settings = load_encoder(str(tmp_path), (56, 56))
    pixels = torch.randn(2, 3, 56, 56)
    expected = theirs(pixels).last_hidden_state
    torch.testing.assert_close(encoder.eval()(pixels), expected, atol=1e-5, rtol=1e-5)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    again = create_encoder(settings, (56, 56))
    again.load_state_dict(encoder.state_dict())


@torch.inference_mode()
def test_vision_half_of_clip(tmp_path):
    text = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=CLIP.to_dict())).eval()
    clip.save_pretrained(tmp_path)
    encoder, settings = load_encoder(str(tmp_path), (56, 56))
    assert settings["model_type"] == "clip_vision_model"
    pixels = torch.randn(1, 3, 56, 56)
    expected = clip.vision_model(pixels).last_hidden_state
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config, num_prefix_tokens", [(BEIT, 1), (DINO3, 5), (SWIN, 0)])
@torch.inference_mode()
def test_other_encoders_stay_those_of_transformers(config, num_prefix_tokens, tmp_path):
    torch.manual_seed(0)
    theirs = AutoModel.from_config(config, attn_implementation="eager").eval()
    theirs.save_pretrained(tmp_path)
    encoder, _ = load_encoder(str(tmp_path), (56, 56))
    assert isinstance(encoder.eval(), TransformersEncoder)
    pixels = torch.randn(2, 3, 56, 56)
    expected = theirs(pixels, output_attentions=True)
    torch.testing.assert_close(encoder(pixels), expected.last_hidden_state, atol=1e-5, rtol=1e-5)
    assert encoder.grid_size == (4, 4) and encoder.num_prefix_tokens == num_prefix_tokens
    assert len(encoder.list_blocks()) == 2
    assert len(list(encoder.list_final_norms())) == (config is not BEIT)  # which has none
    with pytest.raises(OptionError, match="cannot leave patches out"):
        encoder(pixels, torch.tensor([[1], [2]]))
    if config is SWIN:
        with pytest.raises(OptionError, match="cannot be rolled out"):
            encoder.with_attention(pixels)
        return
    for layer, expected_layer in zip(
        encoder.with_attention(pixels)[1], expected.attentions, strict=True
    ):
        torch.testing.assert_close(layer, expected_layer, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_patch_dropout_leaves_out_patches_in_training_alone():
    torch.manual_seed(0)
    encoder = create_encoder(REGISTERS.to_dict(), (56, 56))
    encoder.patch_dropout = 0.75
    pixels = torch.randn(2, 3, 56, 56)
    whole = encoder.eval()(pixels)
    assert whole.shape[1] == 5 + 16 and encoder.kept_patches is None
    dropped = encoder.train()(pixels)
    assert dropped.shape[1] == 5 + 4
    kept = encoder.kept_patches
    assert kept.shape == (2, 4) and not kept[0].equal(kept[1])
    assert all(len(set(row.tolist())) == 4 and row.max() < 16 for row in kept)
    torch.testing.assert_close(dropped, encoder.eval()(pixels, kept))
    torch.testing.assert_close(encoder(pixels), whole)
    assert encoder.kept_patches is None


@torch.inference_mode()
def test_what_does_not_fit_is_refused():
    with pytest.raises(CheckpointError, match="'resnet' is not supported; choose one of vit, "):
        create_encoder(ResNetConfig().to_dict(), (56, 56))
    for config in (DINO, BEIT):
        with pytest.raises(CheckpointError, match=r"\(56, 60\) does not divide into patches of 14"):
            create_encoder(config.to_dict(), (56, 60))
        encoder = create_encoder(config.to_dict(), (56, 56))
        with pytest.raises(ValueError, match=r"images of \(56, 70\) pixels given"):
            encoder(torch.zeros(1, 3, 56, 70))
    encoder.num_prefix_tokens = 2  # a config that lies about its prefix
    with pytest.raises(CheckpointError, match="the encoder gave 17 tokens"):
        encoder(torch.zeros(1, 3, 56, 56))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a whole number from 1, not 0"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers must be a whole number from 1, not '2'"),
        ({"hidden_size": 33}, "hidden_size 33 is not a multiple of 2 attention heads"),
        ({"hidden_act": ["gelu"]}, r"hidden_act \['gelu'\] is not known; choose one of gelu, "),
        ({"mlp_ratio": float("nan")}, "mlp_ratio must be a number from 0, not nan"),
        ({"layer_norm_eps": None}, "layer_norm_eps must be a number from 0, not None"),
        ({"image_size": 7}, "image_size must be at least patch_size"),
        ({"image_size": [56, 28]}, "image_size must be a whole number from 1"),
        ({"num_channels": 1}, "num_channels 3"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes, message):
    with pytest.raises(CheckpointError, match=message):
        create_encoder({**DINO.to_dict(), **changes}, (56, 56))


def test_grey_features_follow_the_weights():
    """Encoded once for the same weights, and anew after training, loading and moving."""
    torch.manual_seed(0)
    encoder = create_encoder(DINO.to_dict(), (56, 56)).eval()
    assert isinstance(encoder, ViT)
    calls = []
    encoder.blocks[0].register_forward_hook(lambda *_: calls.append(1))

    def count_passes() -> int:
        """Passes through the network that it took to get the right answer."""
        before = len(calls)
        features = encoder.grey_features()
        taken = len(calls) - before
        with torch.inference_mode():
            torch.testing.assert_close(features, encoder(torch.zeros(1, 3, 56, 56)))
        return taken

    assert [count_passes(), count_passes()] == [1, 0]
    encoder.train()
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)
    encoder(torch.randn(1, 3, 56, 56)).square().mean().backward()
    optimizer.step()
    encoder.eval()
    assert [count_passes(), count_passes()] == [1, 0]
    encoder.load_state_dict({k: v * 1.1 for k, v in encoder.state_dict().items()})
    assert [count_passes(), count_passes()] == [1, 0]
    encoder.half().float()  # rounded
    assert [count_passes(), count_passes()] == [1, 0]
    assert copy.deepcopy(encoder).grey_features().equal(encoder.grey_features())
    encoder.train().patch_dropout = 0.5  # other patches each time: nothing to keep
    assert encoder.grey_features().shape[1] == 1 + 8
    assert encoder.eval().grey_features().shape[1] == 1 + 16
