"""What an explanation says of a word's maps, on captioners whose answer is known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DINOv3ViTConfig

from model.explain.explanation import SAME_FOR_ALL, token_log_probabilities
from model.explain.methods import METHODS
from tests.support.tiny import draw_photo, tiny_captioner

SENTENCE = "A brown dog runs"


def noise() -> Image.Image:
    """The same every time, and no two patches alike."""
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(56, 56, 3), dtype=np.uint8))


def blindfolded():
    """A captioner to which nothing of the photo gets through."""
    captioner = tiny_captioner()
    with torch.no_grad():
        for block in captioner.decoder.blocks:
            block.cross_attn.output.weight.zero_()
    return captioner


def sees_one_patch(patch: int):
    """A captioner that looks at one patch alone, whatever the word: all other patches are held
    down by a feature that marks them, with an encoder that passes each patch on as it is."""
    captioner = tiny_captioner()
    encoder, width = captioner.encoder, captioner.config.image_width
    with torch.no_grad():
        # position embeddings carry the mark; the encoder's layers add nothing
        for layer in encoder.backbone.encoder.layer:
            layer.layer_scale1.lambda1.zero_()
            layer.layer_scale2.lambda1.zero_()
        embeddings = encoder.backbone.embeddings
        embeddings.patch_embeddings.projection.weight[0] = 0
        embeddings.patch_embeddings.projection.bias[0] = 0
        embeddings.cls_token[..., 0] = 0
        embeddings.position_embeddings.zero_()
        embeddings.position_embeddings[:, 1 + patch, 0] = 50
        encoder.backbone.layernorm.weight.fill_(1)
        encoder.backbone.layernorm.bias.zero_()
        for block in captioner.decoder.blocks:
            attention = block.cross_attn
            attention.key.weight.zero_()
            attention.key.weight[:, 0] = 5
            attention.query.weight.zero_()
            attention.query.bias.fill_(1)
    assert width == 32
    return captioner


def test_every_method_finds_the_one_patch_that_matters():
    captioner, patch = sees_one_patch(6), (1, 2)
    photo = noise()
    explanation = captioner.explain(photo, SENTENCE, methods=tuple(METHODS))
    assert explanation.attention.weights[..., 1 + 6].min() > 0.9
    word = int(np.argmax(np.abs(explanation.attention.gradients).max((0, 1, 3))[:4]))
    for method in ("attention", "rollout"):
        found = explanation.heatmap(word, method)
        assert np.unravel_index(found.argmax(), found.shape) == patch, method
    # where looking helps the word, and where hiding the patch hurts it, the others agree
    checked = set()
    for i in range(len(explanation.words)):
        for method in ("gradient", "gradient-rollout", "occlusion"):
            found = explanation.heatmap(i, method)
            if found.max() > 1e-6:
                assert np.unravel_index(found.argmax(), found.shape) == patch, (i, method)
                checked.add(method)
    assert "occlusion" in checked


def test_hidden_patches_are_not_in_what_the_word_saw():
    """Features without the one patch that matters give the likelihoods of a photo without it."""
    captioner = sees_one_patch(6)
    noisy = noise()
    pixels = captioner.pixel_values([noisy])
    changed = pixels.clone()
    changed[:, :, 14:28, 28:42] = 3.0  # paint over patch 6
    others = torch.tensor([[p for p in range(16) if p != 6]])
    tokens = captioner.tokenizer.encode(SENTENCE)[0]
    with torch.inference_mode():
        features = captioner.encoder(pixels, others)
        assert features.shape == (1, 1 + 15, 32)
        torch.testing.assert_close(captioner.encoder(changed, others), features)
        # in another order the same patches say the same
        flipped = captioner.encoder(pixels, others.flip(1))
        torch.testing.assert_close(
            token_log_probabilities(captioner, flipped, tokens),
            token_log_probabilities(captioner, features, tokens),
            atol=1e-5,
            rtol=1e-5,
        )
        everything = captioner.encoder(pixels, torch.arange(16)[None])
        torch.testing.assert_close(everything, captioner.encoder(pixels))


def test_gain_is_over_a_grey_photo():
    captioner, photo = tiny_captioner(), draw_photo()
    explanation = captioner.explain(photo, SENTENCE)
    mean = tuple(round(255 * m) for m in captioner.image_processor.image_mean)
    grey = captioner.explain(Image.new("RGB", (56, 56), mean), SENTENCE)
    for i, word in enumerate(explanation.words):
        expected = math.log(word.probability / grey.words[i].probability)
        assert explanation.gains[i] == pytest.approx(expected, abs=0.05)
    assert max(abs(g) for g in explanation.gains) > 0.2  # else this says little
    assert max(abs(g) for g in grey.gains) < 0.05


def test_a_captioner_that_cannot_see_is_found_out():
    explanation = blindfolded().explain(draw_photo(), SENTENCE)
    assert explanation.gains == pytest.approx([0] * 4, abs=1e-6)
    first = explanation.words[0]
    told = f"“A” hardly needs the photo: {first.probability:.0%} likely with it, "
    assert explanation.needless(0) == told + f"{first.probability:.0%} without."
    flat = [np.ones((4, 4))] * 4
    assert explanation.doubts(flat) == [SAME_FOR_ALL] + [explanation.needless(i) for i in range(4)]
    corners = list(np.eye(16)[:4].reshape(4, 4, 4))
    assert SAME_FOR_ALL not in explanation.doubts(corners)


def test_a_word_that_needs_the_photo_is_not_doubted():
    explanation = tiny_captioner().explain(draw_photo(), SENTENCE)
    needed = [i for i, gain in enumerate(explanation.gains) if gain > 0.3]
    assert needed  # the random captioner's words differ from photo to photo
    assert all(explanation.needless(i) is None for i in needed)


def test_dropout_changes_no_map():
    """An explanation is made in eval mode: dropout in the config must not reach it."""
    plain, dropping = tiny_captioner(), tiny_captioner()
    for module in dropping.decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    photo = draw_photo()
    np.testing.assert_array_equal(
        plain.explain(photo, SENTENCE).attention.gradients,
        dropping.explain(photo, SENTENCE).attention.gradients,
    )


def test_encoder_attention_is_of_the_same_network():
    captioner = tiny_captioner((28, 70))
    pixels = captioner.pixel_values([draw_photo()])
    with torch.inference_mode():
        features, layers = captioner.encoder.with_attention(pixels)
        torch.testing.assert_close(features, captioner.encoder(pixels), atol=1e-5, rtol=1e-5)
    assert [tuple(layer.shape) for layer in layers] == [(1, 2, 11, 11)] * 2
    torch.testing.assert_close(layers[0].sum(-1), torch.ones(1, 2, 11))
    assert not any("twin" in name or "eager" in name for name in captioner.state_dict())
    assert captioner.encoder.backbone.config._attn_implementation == "sdpa"


def test_occlusion_is_the_fall_by_window():
    """On a grid of 4 × 4 a window is one patch, so the map can be recomputed patch by patch."""
    captioner, photo = tiny_captioner(), draw_photo()
    explanation = captioner.explain(photo, SENTENCE, methods=["occlusion"])
    tokens = [*captioner.tokenizer.encode(SENTENCE)[0], captioner.tokenizer.end]
    pixels = captioner.pixel_values([photo])
    with torch.inference_mode():
        whole = token_log_probabilities(captioner, captioner.encoder(pixels), tokens)[0]
        for patch in (0, 7, 15):
            rest = torch.tensor([[p for p in range(16) if p != patch]])
            left = token_log_probabilities(captioner, captioner.encoder(pixels, rest), tokens)[0]
            found = explanation.attention.occlusion[:, patch // 4, patch % 4]
            np.testing.assert_allclose(found, (whole - left).numpy(), atol=1e-4)


def test_what_cannot_be_done_is_said():
    captioner = tiny_captioner()
    features = captioner.encode([draw_photo()])[0]
    with pytest.raises(ValueError, match="occlusion and rollout need the photo, not its features"):
        captioner.explain(features, SENTENCE, methods=["rollout", "occlusion"])
    with pytest.raises(ValueError, match="unknown method 'magic'; choose from attention, gradient"):
        captioner.explain(draw_photo(), SENTENCE, methods=["magic"])
    with pytest.raises(ValueError, match=r"needs rollout, .* methods=\['rollout'\]"):
        captioner.explain(draw_photo(), SENTENCE).heatmap(0, "rollout")


def test_an_encoder_that_cannot_leave_patches_out():
    encoder = DINOv3ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        patch_size=14,
        image_size=56,
        num_register_tokens=0,
    )
    captioner = tiny_captioner(encoder=encoder)
    assert captioner.explain(draw_photo(), SENTENCE).heatmap(0).shape == (4, 4)
    with pytest.raises(ValueError, match="cannot leave patches out"):
        captioner.explain(draw_photo(), SENTENCE, methods=["occlusion"])
