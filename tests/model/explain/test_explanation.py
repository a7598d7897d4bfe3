"""What an explanation says of a word's maps, on captioners whose answer is known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DINOv3ViTConfig

from model.explain.methods import METHODS
from model.explain.replay import score_tokens
from model.wording import ALIKE_MAPS
from tests.support.known_answers import (
    SENTENCE,
    build_blind_captioner,
    build_one_patch_captioner,
    draw_noise,
)
from tests.support.tiny import draw_photo, tiny_captioner


def test_every_method_finds_the_one_patch_that_matters():
    captioner, patch = build_one_patch_captioner(6), (1, 2)
    photo = draw_noise()
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
    captioner = build_one_patch_captioner(6)
    noisy = draw_noise()
    pixels = captioner.network.pixel_values([noisy])
    changed = pixels.clone()
    changed[:, :, 14:28, 28:42] = 3.0  # paint over patch 6
    others = torch.tensor([[p for p in range(16) if p != 6]])
    tokens = captioner.network.tokenizer.encode(SENTENCE)[0]
    with torch.inference_mode():
        features = captioner.network.encoder(pixels, others)
        assert features.shape == (1, 1 + 15, 32)
        torch.testing.assert_close(captioner.network.encoder(changed, others), features)
        # in another order the same patches say the same
        flipped = captioner.network.encoder(pixels, others.flip(1))
        torch.testing.assert_close(
            score_tokens(captioner.network, flipped, tokens),
            score_tokens(captioner.network, features, tokens),
            atol=1e-5,
            rtol=1e-5,
        )
        everything = captioner.network.encoder(pixels, torch.arange(16)[None])
        torch.testing.assert_close(everything, captioner.network.encoder(pixels))


def test_gain_is_over_a_grey_photo():
    captioner, photo = tiny_captioner(), draw_photo()
    explanation = captioner.explain(photo, SENTENCE)
    mean = tuple(round(255 * m) for m in captioner.network.image_processor.image_mean)
    grey = captioner.explain(Image.new("RGB", (56, 56), mean), SENTENCE)
    for i, word in enumerate(explanation.words):
        expected = math.log(word.probability / grey.words[i].probability)
        assert explanation.gains[i] == pytest.approx(expected, abs=0.05)
    assert max(abs(g) for g in explanation.gains) > 0.2  # else this says little
    assert max(abs(g) for g in grey.gains) < 0.05


def test_a_captioner_that_cannot_see_is_found_out():
    explanation = build_blind_captioner().explain(draw_photo(), SENTENCE)
    assert list(explanation.gains) == pytest.approx([0] * 4, abs=1e-6)
    first = explanation.words[0]
    told = f"“A” hardly needs the photo: {first.probability:.0%} likely with it, "
    assert explanation.describe_unneeded_photo(0) == told + f"{first.probability:.0%} without."
    flat = [np.ones((4, 4))] * 4
    notes = [explanation.describe_unneeded_photo(i) for i in range(4)]
    assert explanation.doubts(flat) == [ALIKE_MAPS, *notes]
    corners = list(np.eye(16)[:4].reshape(4, 4, 4))
    assert ALIKE_MAPS not in explanation.doubts(corners)


def test_a_word_that_needs_the_photo_is_not_doubted():
    explanation = tiny_captioner(seed=2).explain(draw_photo(), SENTENCE)
    needed = [i for i, gain in enumerate(explanation.gains) if gain > 0.3]
    assert needed  # the random captioner's words differ from photo to photo
    assert all(explanation.describe_unneeded_photo(i) is None for i in needed)


def test_dropout_changes_no_map():
    """An explanation is made in eval mode: dropout in the config must not reach it."""
    plain, dropping = tiny_captioner(), tiny_captioner()
    for module in dropping.network.decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    photo = draw_photo()
    np.testing.assert_array_equal(
        plain.explain(photo, SENTENCE).attention.gradients,
        dropping.explain(photo, SENTENCE).attention.gradients,
    )


def test_encoder_attention_is_of_the_same_network():
    captioner = tiny_captioner((28, 70))
    pixels = captioner.network.pixel_values([draw_photo()])
    with torch.inference_mode():
        features, layers = captioner.network.encoder.with_attention(pixels)
        torch.testing.assert_close(
            features, captioner.network.encoder(pixels), atol=1e-5, rtol=1e-5
        )
    assert [tuple(layer.shape) for layer in layers] == [(1, 2, 11, 11)] * 2
    torch.testing.assert_close(layers[0].sum(-1), torch.ones(1, 2, 11))


def test_occlusion_is_the_fall_by_window():
    """On a grid of 4 × 4 a window is one patch, so the map can be recomputed patch by patch."""
    captioner, photo = tiny_captioner(), draw_photo()
    explanation = captioner.explain(photo, SENTENCE, methods=["occlusion"])
    tokens = [*captioner.network.tokenizer.encode(SENTENCE)[0], captioner.network.tokenizer.end]
    pixels = captioner.network.pixel_values([photo])
    with torch.inference_mode():
        whole = score_tokens(captioner.network, captioner.network.encoder(pixels), tokens)[0]
        for patch in (0, 7, 15):
            rest = torch.tensor([[p for p in range(16) if p != patch]])
            without_patch = captioner.network.encoder(pixels, rest)
            left = score_tokens(captioner.network, without_patch, tokens)[0]
            found = explanation.attention.occlusion[:, patch // 4, patch % 4]
            np.testing.assert_allclose(found, (whole - left).numpy(), atol=1e-4)


def test_what_cannot_be_done_is_said():
    captioner = tiny_captioner()
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
