"""Maps from weights whose answer is known."""

import numpy as np
import pytest

from model.explain.methods import (
    METHODS,
    CrossAttention,
    compute_heatmap,
    compute_image_share,
    compute_rollout,
    compute_spread,
    find_sinks,
)


@pytest.fixture
def attention():
    """2 layers, 3 heads, 4 tokens, 2 prefix tokens and 2 × 3 patches."""
    weights = np.random.default_rng(0).dirichlet(np.ones(8), size=(2, 3, 4)).astype(np.float32)
    return CrossAttention(weights, (2, 3), 2)


def test_patches_are_laid_out_row_by_row(attention):
    found = compute_heatmap(attention, (1, 2), "attention", layer=1, head=2)
    assert found.shape == (2, 3) and found.dtype == np.float32
    assert found[1, 0] == attention.weights[1, 2, 1, 2 + 3]
    assert found[0, 2] == attention.weights[1, 2, 1, 2 + 2]


def test_mean_over_what_is_not_chosen(attention):
    w = attention.weights
    for choices, expected in (
        ({}, w[:, :, 0, 2:].mean((0, 1))),
        ({"layer": 0}, w[0, :, 0, 2:].mean(0)),
        ({"head": 1}, w[:, 1, 0, 2:].mean(0)),
    ):
        found = compute_heatmap(attention, (0, 1), "attention", **choices)
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_a_word_of_three_tokens_gives_one_map(attention):
    whole = compute_heatmap(attention, (1, 4), "attention")
    parts = [compute_heatmap(attention, (t, t + 1), "attention") for t in (1, 2, 3)]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-6)


def test_sum_is_the_share_on_the_image(attention):
    share = compute_image_share(attention, (0, 2))
    assert compute_heatmap(attention, (0, 2), "attention").sum() == pytest.approx(share)
    on_prefix = attention.weights[:, :, 0:2, :2].sum(-1).mean()
    assert share + on_prefix == pytest.approx(1, abs=1e-6)


def test_permuting_patches_permutes_the_map(attention):
    order = np.random.default_rng(1).permutation(6)
    moved = attention.weights.copy()
    moved[..., 2:] = attention.weights[..., 2:][..., order]
    found = compute_heatmap(CrossAttention(moved, (2, 3), 2), (0, 1), "attention").ravel()
    expected = compute_heatmap(attention, (0, 1), "attention").ravel()[order]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(span=(0, 1), layer=2), "layer 2 does not exist; there are 2, counted from 0"),
        (dict(span=(0, 1), head=-1), "head -1 does not exist; there are 3"),
        (dict(span=(2, 2)), r"tokens \(2, 2\) are not within the 4 replayed"),
        (dict(span=(3, 5)), r"tokens \(3, 5\) are not within"),
        (dict(span=(0, 1), method="magic"), "unknown method 'magic'; choose from attention"),
    ],
)
def test_what_is_not_there(attention, arguments, message):
    with pytest.raises(ValueError, match=message):
        compute_heatmap(attention, **{"method": "attention", **arguments})


def test_gradient_weighting(attention):
    """By hand: weights times gradients, nothing below zero, the mean over the rest."""
    gradients = np.random.default_rng(2).normal(size=attention.weights.shape).astype(np.float32)
    record = CrossAttention(attention.weights, (2, 3), 2, gradients)
    expected = np.zeros(6)
    for layer in range(2):
        for token in (1, 2):
            for patch in range(6):
                product = (
                    attention.weights[layer, 1, token, 2 + patch]
                    * gradients[layer, 1, token, 2 + patch]
                )
                expected[patch] += max(product, 0) / 4
    found = compute_heatmap(record, (1, 3), "gradient", head=1)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="needs gradients, which this record lacks"):
        compute_heatmap(attention, (1, 3), "gradient")
    with pytest.raises(ValueError, match="gradients .* of weights"):
        CrossAttention(attention.weights, (2, 3), 2, gradients[:1])


def test_weights_must_fit_the_grid():
    with pytest.raises(ValueError, match="do not fit 1 prefix tokens and 2 × 2 patches"):
        CrossAttention(np.zeros((1, 1, 1, 6)), (2, 2), 1)


def test_several_layers_and_heads(attention):
    w = attention.weights
    found = compute_heatmap(attention, (0, 1), "attention", layer=[1], head=(0, 2))
    np.testing.assert_allclose(found.ravel(), w[1, [0, 2], 0, 2:].mean(0), rtol=1e-6)
    with pytest.raises(ValueError, match="head 3 does not exist"):
        compute_heatmap(attention, (0, 1), head=[0, 3], method="attention")


def test_rollout_by_hand():
    """Two layers in which every token looks at one other: half stays, half follows."""
    first, second = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    first[0, [0, 1, 2], [1, 2, 2]] = 1
    second[0, [0, 1, 2], [2, 2, 0]] = 1
    found = compute_rollout([first, second])
    np.testing.assert_allclose(
        found, [[0.25, 0.25, 0.5], [0, 0.25, 0.75], [0.25, 0.25, 0.5]], atol=1e-7
    )
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    # two heads count as their mean
    both = compute_rollout([np.concatenate([first, second])])
    np.testing.assert_allclose(both, (compute_rollout([first]) + compute_rollout([second])) / 2)


def test_rollout_moves_the_map_to_where_tokens_came_from(attention):
    """An encoder whose patch k holds what was at patch k + 1."""
    moved = np.roll(np.eye(8), 1, axis=1)
    record = CrossAttention(
        attention.weights, (2, 3), 2, np.ones_like(attention.weights), rollout=moved
    )
    for method, plain in (("rollout", "attention"), ("gradient-rollout", "gradient")):
        direct = compute_heatmap(record, (0, 1), plain).ravel()
        found = compute_heatmap(record, (0, 1), method).ravel()
        np.testing.assert_array_equal(found[1:], direct[:-1])
    assert compute_heatmap(record, (0, 1), "rollout").sum() <= 1


def test_occlusion_is_the_sum_over_tokens_and_never_below_zero(attention):
    falls = np.arange(24.0).reshape(4, 2, 3) - 10
    record = CrossAttention(attention.weights, (2, 3), 2, occlusion=falls)
    found = compute_heatmap(record, (0, 2), "occlusion")
    np.testing.assert_array_equal(found, np.maximum(falls[0] + falls[1], 0))
    with pytest.raises(ValueError, match="has no layers or heads"):
        compute_heatmap(record, (0, 2), "occlusion", layer=0)


@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if entry.requires])
def test_a_method_says_what_it_needs(attention, method):
    needed = " and ".join(requirement.value for requirement in METHODS[method].requires)
    with pytest.raises(ValueError, match=rf"needs {needed}, .* methods=\['{method}'"):
        compute_heatmap(attention, (0, 1), method)


def test_sinks_take_mass_from_every_token():
    weights = np.full((1, 2, 3, 1 + 16), 1 / 60)
    weights[..., 1 + 5] = 0.5  # a sink at row 1, column 1
    weights[:, :, 1, 1 + 7] = 0.5  # what one word looks at is none
    weights /= weights.sum(-1, keepdims=True)
    record = CrossAttention(weights, (4, 4), 1)
    assert np.argwhere(find_sinks(record)).tolist() == [[1, 1]]
    masked = compute_heatmap(record, (1, 2), "attention", mask_sinks=True)
    assert masked[1, 1] == 0 and masked.argmax() == 7
    assert compute_heatmap(record, (0, 1), "attention").argmax() == 5


def test_spread():
    left, right = np.eye(2)[0], np.eye(2)[1]
    assert compute_spread([left, left * 5]) == 0  # only the place counts, not the scale
    assert compute_spread([left, right]) == pytest.approx(0.5)
    assert compute_spread(list(np.eye(50))) == pytest.approx(0.98)
    assert compute_spread([np.zeros(3)]) == 0
