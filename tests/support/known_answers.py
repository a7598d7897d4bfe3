"""Captioners built so that what a map must show is known."""

import numpy as np
import torch
from PIL import Image

from model import Captioner
from tests.support.tiny import tiny_captioner

SENTENCE = "A brown dog runs"


def draw_noise() -> Image.Image:
    """The same every time, and no two patches alike."""
    return Image.fromarray(np.random.default_rng(0).integers(256, size=(56, 56, 3), dtype=np.uint8))


def build_blind_captioner() -> Captioner:
    """A captioner to which nothing of the photo gets through."""
    captioner = tiny_captioner()
    with torch.no_grad():
        for block in captioner.network.decoder.blocks:
            block.cross_attn.output.weight.zero_()
    return captioner


def build_one_patch_captioner(patch: int) -> Captioner:
    """A captioner that looks at one patch alone, whatever the word: all other patches are held
    down by a feature that marks them, with an encoder that passes each patch on as it is."""
    captioner = tiny_captioner()
    encoder, width = captioner.network.encoder, captioner.network.config.image_width
    with torch.no_grad():
        # position embeddings carry the mark; the encoder's layers add nothing
        for block in encoder.blocks:
            block.attn_scale.factors.zero_()
            block.mlp_scale.factors.zero_()
        encoder.patch_embedding.weight[0] = 0
        encoder.patch_embedding.bias[0] = 0
        encoder.class_token[..., 0] = 0
        encoder.position_embedding.zero_()
        encoder.position_embedding[:, 1 + patch, 0] = 50
        for block in captioner.network.decoder.blocks:
            attention = block.cross_attn
            attention.key.weight.zero_()
            attention.key.weight[:, 0] = 5
            attention.query.weight.zero_()
            attention.query.bias.fill_(1)
    assert width == 32
    return captioner
