"""Image encoders of every family: grid and prefix tokens come from the config."""

import copy

import pytest
import torch
from transformers import (
    AutoModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    DeiTConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    ResNetConfig,
    SiglipVisionConfig,
    ViTConfig,
)

from model.network.config import CheckpointError
from model.network.encoder import ImageEncoder

SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56)
FAMILIES = {
    "vit": (ViTConfig(**SMALL, intermediate_size=64, patch_size=14), 1),
    "deit": (DeiTConfig(**SMALL, intermediate_size=64, patch_size=14), 2),
    "dinov2": (Dinov2Config(**SMALL, mlp_ratio=2, patch_size=14), 1),
    "registers": (
        Dinov2WithRegistersConfig(**SMALL, mlp_ratio=2, patch_size=14, num_register_tokens=4),
        5,
    ),
    "clip": (CLIPVisionConfig(**SMALL, intermediate_size=64, patch_size=14), 1),
    "siglip": (SiglipVisionConfig(**SMALL, intermediate_size=64, patch_size=14), 0),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("image_size", [(56, 56), (42, 84)])
@torch.inference_mode()
def test_tokens_and_grid(family, image_size, tmp_path):
    config, prefix = FAMILIES[family]
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    encoder = ImageEncoder.from_pretrained(str(tmp_path), image_size).eval()
    rows, cols = image_size[0] // 14, image_size[1] // 14
    assert encoder.grid_size == (rows, cols)
    assert encoder.num_prefix_tokens == prefix
    features = encoder(torch.randn(2, 3, *image_size))
    assert features.shape == (2, prefix + rows * cols, 32)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_patches_come_row_by_row_after_the_prefix(family):
    """Paint one patch: of all tokens its own changes most, before layers mix them."""
    config, prefix = FAMILIES[family]
    torch.manual_seed(0)
    encoder = ImageEncoder(config, (42, 84)).eval()
    embeddings = encoder.backbone.embeddings
    options = encoder._arguments
    blank = torch.zeros(1, 3, 42, 84)
    painted = blank.clone()
    painted[:, :, 14:28, 42:56] = 3.0  # row 1, column 3 of 3 × 6
    change = (embeddings(painted, **options) - embeddings(blank, **options)).abs().sum(-1)[0]
    assert change.argmax() == prefix + 1 * 6 + 3
    assert (change > 1e-6).sum() == 1


@torch.inference_mode()
def test_patch_dropout_leaves_out_patches_in_training_alone():
    torch.manual_seed(0)
    encoder = ImageEncoder(FAMILIES["registers"][0], (56, 56))
    encoder.patch_dropout = 0.75
    pixels = torch.randn(2, 3, 56, 56)
    whole = encoder.eval()(pixels)
    assert whole.shape[1] == 5 + 16
    embeddings = []
    encoder.backbone.embeddings.register_forward_hook(lambda m, a, out: embeddings.append(out))
    embedded = encoder.backbone.embeddings(pixels)
    assert encoder.train()(pixels).shape[1] == 5 + 4
    dropped = embeddings[-1]
    torch.testing.assert_close(dropped[:, :5], embedded[:, :5])  # prefix tokens stay
    kept = [
        {int((row == patch).all(-1).nonzero()) for patch in left}
        for row, left in zip(embedded, dropped[:, 5:], strict=True)
    ]
    assert [len(k) for k in kept] == [4, 4] and kept[0] != kept[1]
    torch.testing.assert_close(encoder.eval()(pixels), whole)


def test_vision_half_of_clip(tmp_path):
    text = dict(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=20,
    )
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=FAMILIES["clip"][0].to_dict()))
    clip.save_pretrained(tmp_path)
    encoder = ImageEncoder.from_pretrained(str(tmp_path), (56, 56))
    kept = dict(clip.vision_model.named_parameters())
    parameters = dict(encoder.backbone.named_parameters())
    name = "encoder.layers.1.mlp.fc1.weight"
    (loaded,) = [p for key, p in parameters.items() if key.endswith(name)]
    torch.testing.assert_close(loaded, kept[name])


def test_what_does_not_fit_is_refused():
    with pytest.raises(CheckpointError, match="'resnet' is not supported; choose one of vit, "):
        ImageEncoder(ResNetConfig(), (56, 56))
    config = FAMILIES["dinov2"][0]
    with pytest.raises(CheckpointError, match=r"\(56, 60\) does not divide into patches of 14"):
        ImageEncoder(config, (56, 60))
    encoder = ImageEncoder(config, (56, 56))
    with pytest.raises(ValueError, match=r"images of \(56, 70\) pixels given"):
        encoder(torch.zeros(1, 3, 56, 70))
    encoder.num_prefix_tokens = 2  # a config that lies about its prefix
    with pytest.raises(CheckpointError, match="the encoder gave 17 tokens"):
        encoder(torch.zeros(1, 3, 56, 56))


def test_grey_features_follow_the_weights():
    """Encoded once for the same weights, and anew after everything that changes them."""
    torch.manual_seed(0)
    encoder = ImageEncoder(FAMILIES["dinov2"][0], (56, 56)).eval()
    calls = []
    encoder.backbone.register_forward_hook(lambda *_: calls.append(1))

    def encoded() -> int:
        """Passes through the backbone that it took to get the right answer."""
        before = len(calls)
        features = encoder.grey_features()
        taken = len(calls) - before
        with torch.inference_mode():
            torch.testing.assert_close(features, encoder(torch.zeros(1, 3, 56, 56)))
        return taken

    assert [encoded(), encoded()] == [1, 0]
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)  # counts no versions
    encoder(torch.randn(1, 3, 56, 56)).square().mean().backward()
    optimizer.step()
    assert [encoded(), encoded()] == [1, 0]
    encoder.load_state_dict({k: v * 1.1 for k, v in encoder.state_dict().items()})
    assert [encoded(), encoded()] == [1, 0]
    encoder.half().float()  # rounded
    assert [encoded(), encoded()] == [1, 0]
    with torch.no_grad():
        encoder.backbone.layernorm.weight[3] += 1
    assert [encoded(), encoded()] == [1, 0]
    assert copy.deepcopy(encoder).grey_features().equal(encoder.grey_features())
    encoder.train().patch_dropout = 0.5  # other patches each time: nothing to keep
    assert encoder.grey_features().shape[1] == 1 + 8
    assert encoder.eval().grey_features().shape[1] == 1 + 16
