"""The decoder's cache: a value that holds what a fresh read of the same tokens would give."""

import pytest
import torch

from model.network.attention import KeyValues
from model.network.cache import Cache
from model.network.decoder import TextDecoder
from tests.support.tiny import random_features, tiny_decoder


def read(decoder: TextDecoder, tokens: torch.Tensor, features: torch.Tensor) -> Cache:
    """The cache after one pass over all tokens (rows, T)."""
    return decoder(tokens, decoder.look_at(features)).cache


def assert_equal(cache: Cache, expected: Cache) -> None:
    for layer, expected_layer in zip(cache.layers, expected.layers, strict=True):
        for part, expected_part in zip(layer, expected_layer, strict=True):
            torch.testing.assert_close(part, expected_part, atol=1e-5, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("project_image", [False, True])
def test_cached_is_uncached(project_image):
    decoder, features = tiny_decoder(project_image=project_image), random_features(2)
    tokens = torch.randint(0, 12, (4, 9))  # two captions for each image
    whole = decoder(tokens, decoder.look_at(features), need_weights=True)
    cache, logits, weights = decoder.look_at(features), [], []
    for part in tokens.split([3, 1, 1, 4], dim=1):  # also several tokens at once
        output = decoder(part, cache, need_weights=True)
        cache = output.cache
        logits.append(output.logits)
        weights.append(torch.stack(output.cross_attn_weights))
    torch.testing.assert_close(torch.cat(logits, 1), whole.logits, atol=1e-5, rtol=0)
    joined, expected = torch.cat(weights, dim=3), torch.stack(whole.cross_attn_weights)
    assert joined.shape == expected.shape == (2, 4, 2, 9, 7)
    torch.testing.assert_close(joined, expected, atol=1e-5, rtol=0)
    for layer in cache.layers:
        assert layer.self_attn.keys.shape == (4, 2, 9, 8)
        assert layer.cross_attn.keys.shape == (2, 2, 7, 8)  # neither copied nor grown
    assert_equal(cache, whole.cache)


@torch.inference_mode()
def test_sizes():
    decoder, features = tiny_decoder(), random_features(3)
    cache = decoder.look_at(features)
    assert (cache.num_images, cache.context_length, cache.length) == (3, 7, 0)
    longer = decoder(torch.randint(0, 12, (6, 4)), cache).cache
    assert (longer.num_images, longer.context_length, longer.length) == (3, 7, 4)
    assert cache.length == 0  # a value: reading does not change it
    assert longer.device.type == "cpu"


@torch.inference_mode()
@pytest.mark.parametrize(
    "rows, images",
    [
        ([5, 4, 0, 0], [2, 0]),
        ([1, 0, 3, 3, 4, 5], None),  # beams that change places
        ([2, 3], [1]),
        ([1, 0, 0, 2, 3, 2, 4, 4, 4], None),  # more rows for each image than before
    ],
)
def test_selecting_is_reading_afresh(rows, images):
    decoder, features = tiny_decoder(), random_features(3)
    tokens = torch.randint(0, 12, (6, 4))  # two rows for each image
    selected = read(decoder, tokens, features).select(rows, images)
    fresh = read(decoder, tokens[rows], features if images is None else features[images])
    assert_equal(selected, fresh)
    following = torch.randint(0, 12, (len(rows), 2))
    logits, expected = (decoder(following, cache).logits for cache in (selected, fresh))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_selecting_images_before_the_first_token():
    decoder, features = tiny_decoder(), random_features(3)
    selected = decoder.look_at(features).select([2, 0], [2, 0])
    assert_equal(selected, decoder.look_at(features[[2, 0]]))


@torch.inference_mode()
def test_other_images_with_the_same_tokens():
    decoder, features = tiny_decoder(), random_features(2)
    cache = read(decoder, torch.randint(0, 12, (2, 4)), features)
    others = decoder.look_at(features.flip(0))
    replaced = cache.replace_images([layer.cross_attn for layer in others.layers])
    for layer, tokens, images in zip(replaced.layers, cache.layers, others.layers, strict=True):
        assert layer.self_attn is tokens.self_attn and layer.cross_attn is images.cross_attn
    with pytest.raises(ValueError, match="shorter"):
        cache.replace_images([KeyValues(features, features)])
