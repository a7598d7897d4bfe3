"""Patches that are alike become one token."""

import pytest
import torch

from model import Captioner
from model.errors import CheckpointError, OptionError
from model.network.attention import KeyValues, MultiHeadAttention
from model.network.encoder_families import create_encoder
from model.network.network import Network
from model.network.token_merging import MergedTokens
from tests.support.tiny import tiny_captioner

VIT = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
VIT |= {"intermediate_size": 24, "image_size": 24, "patch_size": 4}  # 36 patches


def create_vit(merged_patches, **changes):
    torch.manual_seed(0)
    encoder = create_encoder(VIT | changes, (24, 24)).eval()
    for parameter in encoder.parameters():
        parameter.data.normal_(std=0.3)
    encoder.merged_patches = merged_patches
    return encoder


def merge_one_by_one(tokens, keys, count, num_prefix_tokens):
    """The groups of one photo's places, and their means, as the paper tells it."""
    length = len(tokens)
    pairs = []
    for i in range(0, length, 2):
        others = [j for j in range(1, length, 2) if j >= num_prefix_tokens]
        if i < num_prefix_tokens or not others:
            continue
        cosines = [float(torch.cosine_similarity(keys[i], keys[j], dim=0)) for j in others]
        best = max(range(len(others)), key=cosines.__getitem__)
        pairs.append((cosines[best], i, others[best]))
    groups = {j: {j} for j in range(length)}
    for _, i, j in sorted(pairs, reverse=True)[:count]:
        groups[j] |= groups.pop(i)
    mean = torch.empty_like(tokens)
    for group in groups.values():
        for place in group:
            mean[place] = tokens[list(group)].mean(dim=0)
    return mean, {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("num_prefix_tokens", [0, 1, 2, 5])
@pytest.mark.parametrize("length", [11, 12])
def test_the_pairs_that_are_most_alike_are_averaged(length, num_prefix_tokens):
    torch.manual_seed(length)
    tokens, keys = torch.randn(2, length, 6), torch.randn(2, 3, length, 4)
    merged = MergedTokens.begin(tokens).merge(keys, 3, num_prefix_tokens)
    assert merged.tokens.shape[1] == length - 3
    assert merged.sizes.sum(dim=1).tolist() == [length, length]
    for b in range(2):
        expected, groups = merge_one_by_one(tokens[b], keys[b].mean(dim=0), 3, num_prefix_tokens)
        torch.testing.assert_close(merged.spread()[b], expected)
        found = {}
        for place, token in enumerate(merged.places[b].tolist()):
            found.setdefault(token, set()).add(place)
        assert {frozenset(group) for group in found.values()} == groups


@pytest.mark.parametrize("num_prefix_tokens", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [3, 30])
def test_prefix_tokens_stay_alone_however_often_is_merged(length, num_prefix_tokens):
    torch.manual_seed(0)
    tokens = torch.randn(2, max(length, num_prefix_tokens + 1), 6)
    merged = MergedTokens.begin(tokens)
    for _ in range(6):
        merged = merged.merge(merged.tokens[:, None], 4, num_prefix_tokens)
    prefix = merged.places[:, :num_prefix_tokens]
    assert (merged.sizes.gather(1, prefix) == 1).all()
    assert merged.spread()[:, :num_prefix_tokens].equal(tokens[:, :num_prefix_tokens])


def test_a_second_merge_weighs_by_size_and_finds_every_place():
    tokens = torch.tensor([[[0.0], [3.0], [9.0], [9.0]]])
    # 0 joins 1 first, then their mean, which comes first now, joins one of the nines
    first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 1.0]]]])
    once = MergedTokens.begin(tokens).merge(first, 1, 0)
    assert sorted(once.sizes[0].tolist()) == [1, 1, 2]
    assert once.spread()[0, :, 0].tolist() == [1.5, 1.5, 9.0, 9.0]
    twice = once.merge(torch.ones(1, 1, 3, 2), 2, 0)
    assert twice.sizes.sum() == 4
    spread = twice.spread()[0, :, 0]
    assert spread[0] == spread[1] and spread.mean() == pytest.approx(5.25)


@torch.inference_mode()
def test_equal_positions_weigh_as_many():
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2)
    x, context = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    sizes = torch.tensor([[1.0, 3.0, 1.0, 2.0]] * 2)
    repeated = context.repeat_interleave(sizes[0].long(), dim=1)
    expected, _ = attention(x, attention.keys_values(repeated))
    few = attention.keys_values(context)
    for need_weights in (False, True):
        found, weights = attention(x, few, sizes=sizes, need_weights=need_weights)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 3))
    mask = torch.tensor([[True, True, False, True]] * 3)
    masked, _ = attention(x, few, sizes=sizes, mask=mask)
    kept = [0, 1, 3]
    left = KeyValues(few.keys[:, :, kept], few.values[:, :, kept])
    torch.testing.assert_close(masked, attention(x, left, sizes=sizes[:, kept])[0])


@pytest.mark.parametrize("changes", [{}, {"model_type": "siglip_vision_model"}])
@torch.inference_mode()
def test_every_place_keeps_a_feature(changes):
    encoder = create_vit(6, **changes)
    pixels = torch.randn(2, 3, 24, 24)
    features = encoder(pixels)
    assert features.shape == (2, encoder.num_tokens, 16)
    for row in features:
        assert len(row.unique(dim=0)) == encoder.num_tokens - 18  # three layers, six each
    prefix, plain = encoder.num_prefix_tokens, create_vit(0, **changes)
    assert all((row[:prefix, None] != row[prefix:]).any(dim=2).all() for row in features)
    assert not features.allclose(plain(pixels))
    torch.testing.assert_close(encoder.with_attention(pixels)[0], plain(pixels))


@torch.inference_mode()
def test_of_the_patches_that_are_seen_as_large_a_share_is_merged():
    encoder = create_vit(6)
    seen = torch.arange(0, 36, 3).expand(2, -1)
    for row in encoder(torch.randn(2, 3, 24, 24), seen):
        assert len(row) == 1 + 12
        assert len(row.unique(dim=0)) == 1 + 12 - 6  # three layers, two each


@pytest.mark.parametrize("merged_patches", [17, 18, 1000])
@torch.inference_mode()
def test_more_than_there_are(merged_patches):
    encoder = create_vit(merged_patches)
    assert encoder(torch.randn(1, 3, 24, 24)).isfinite().all()
    assert encoder(torch.randn(1, 3, 24, 24), torch.tensor([[5]])).shape == (1, 2, 16)


def test_it_learns_with_patches_left_out():
    encoder = create_vit(4).train()
    encoder.patch_dropout = 0.5
    encoder(torch.randn(2, 3, 24, 24)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_a_captioner_says_how_many_it_merges(tmp_path):
    captioner = tiny_captioner()
    captioner.network.config.merged_patches = 2
    captioner.save_pretrained(tmp_path)
    loaded = Captioner.from_pretrained(tmp_path)
    assert loaded.network.config.merged_patches == 2
    assert loaded.network.encoder.merged_patches == 2


@pytest.mark.parametrize("value", [-1, 1.5, "8", True])
def test_what_is_no_number_of_patches(value):
    config = tiny_captioner().network.config
    with pytest.raises(OptionError, match="merged_patches"):
        type(config)(**(vars(config) | {"merged_patches": value}))


def test_an_encoder_that_cannot_merge():
    network = tiny_captioner().network
    network.config.merged_patches = 2
    with pytest.raises(CheckpointError, match="cannot merge"):
        Network(
            network.config,
            network.tokenizer,
            network.image_processor,
            torch.nn.Identity(),
            network.decoder,
        )
