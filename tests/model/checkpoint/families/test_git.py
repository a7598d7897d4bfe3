"""GIT, whose photo stands before its words: what is its own, beside what every family shows in
`test_hub_captioners`."""

import pytest
import torch

from model import CheckpointError, load
from model.explain.replay import replay_with_gradients
from model.network.vit import ViT
from tests.support.hub import PHOTOS, check_token_tree, git, save

FEATURES = 17  # the class token, and 4 · 4


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """transformers' model and our captioner of the same files."""
    model, tokenizer = git()
    return model, load(save(tmp_path_factory.mktemp("git"), model, tokenizer))


@torch.inference_mode()
def test_its_image_encoder_is_ours(both):
    model, captioner = both
    network = captioner.network
    assert isinstance(network.encoder, ViT)
    pixels = network.pixel_values(PHOTOS)
    expected = model.git.image_encoder(pixels).last_hidden_state
    torch.testing.assert_close(network.encoder(pixels), expected, atol=1e-5, rtol=1e-4)
    num_weights = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in network.parameters()) == num_weights  # none is there twice


def test_a_token_tree_is_rated_as_the_sentence(both):
    check_token_tree(both[1].network, PHOTOS[:2], 100)


def test_gradients_are_those_of_whole_matrices(both):
    """Of the last token, which no other token's attention lies between."""
    model, captioner = both
    network = captioner.network
    tokens = list(captioner.caption(PHOTOS[0], num_beams=1, max_length=5).tokens)
    output = model(
        input_ids=torch.tensor([[network.tokenizer.start, *tokens[:-1]]]),
        pixel_values=network.pixel_values(PHOTOS[:1]),
        output_attentions=True,
        use_cache=False,
    )
    rating = output.logits[0, -1].log_softmax(-1)[tokens[-1]]
    expected = torch.stack(torch.autograd.grad(rating, output.attentions))
    expected = expected[:, 0, :, -1, :FEATURES]
    photo = captioner.encode(PHOTOS[:1])[0]
    gradients = torch.from_numpy(replay_with_gradients(network, photo, tokens).gradients)[:, :, -1]
    assert gradients.abs().max() > 1e-4
    torch.testing.assert_close(gradients, expected, atol=1e-5, rtol=1e-3)


def test_patches_that_are_left_out_are_not_seen(both):
    """The sequence is shorter then: occlusion is of the photo, not of its outline."""
    network = both[1].network
    decoder = network.decoder
    pixels = network.pixel_values(PHOTOS[:1])
    some = torch.tensor([[0, 3, 9]])
    cache = decoder.look_at(network.encoder(pixels, some))
    assert cache.context_length == 1 + some.shape[1]
    output = decoder(torch.tensor([[2, 40]]), cache, need_weights=True)
    assert output.cross_attn_weights[0].shape[-1] == 1 + some.shape[1]


def test_one_for_films_is_refused(tmp_path):
    model, tokenizer = git(num_image_with_embedding=6)
    with pytest.raises(CheckpointError, match="describes films, not photos"):
        load(save(tmp_path, model, tokenizer))
