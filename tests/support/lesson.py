"""A captioner with a sentence that it is to have written, for the tests of the lesson."""

import pytest
import torch

from model.search.caption import Caption
from tests.support.tiny import draw_photo, tiny_captioner

LAYERS, HEADS = 2, 2  # of the captioner below
GRID = (3, 6)  # not square, so that rows and columns cannot change places


@pytest.fixture(scope="module")
def captioner():
    captioner = tiny_captioner((42, 84))
    # biases too, or they are not tested
    for name, p in captioner.network.decoder.named_parameters():
        if "attn." in name and name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.1)
    return captioner


@pytest.fixture(scope="module")
def encoded(captioner):
    return captioner.encode([draw_photo()])[0]


@pytest.fixture(scope="module")
def features(encoded):
    return encoded.image_features


@pytest.fixture(scope="module")
def caption(captioner, encoded):
    """A sentence as if the captioner had written it: what a random one writes is no words."""
    said = captioner.explain(encoded, "A zebra runs through the grass.")
    tokens, _ = captioner.network.tokenizer.encode(said.text)
    return Caption(said.text, said.words, said.log_probability, tuple(tokens))
