"""Maps from weights whose answer is known."""

import numpy as np
import pytest

from model.attention_maps import CrossAttention, heatmap, image_share


@pytest.fixture
def attention():
    """2 layers, 3 heads, 4 tokens, 2 prefix tokens and 2 × 3 patches."""
    weights = np.random.default_rng(0).dirichlet(np.ones(8), size=(2, 3, 4)).astype(np.float32)
    return CrossAttention(weights, (2, 3), 2)


def test_patches_are_laid_out_row_by_row(attention):
    found = heatmap(attention, (1, 2), layer=1, head=2)
    assert found.shape == (2, 3) and found.dtype == np.float32
    assert found[1, 0] == attention.weights[1, 2, 1, 2 + 3]
    assert found[0, 2] == attention.weights[1, 2, 1, 2 + 2]


def test_mean_over_what_is_not_chosen(attention):
    w = attention.weights
    np.testing.assert_allclose(heatmap(attention, (0, 1)).ravel(), w[:, :, 0, 2:].mean((0, 1)))
    np.testing.assert_allclose(
        heatmap(attention, (0, 1), layer=0).ravel(), w[0, :, 0, 2:].mean(0), rtol=1e-6
    )
    np.testing.assert_allclose(
        heatmap(attention, (0, 1), head=1).ravel(), w[:, 1, 0, 2:].mean(0), rtol=1e-6
    )


def test_a_word_of_three_tokens_gives_one_map(attention):
    whole = heatmap(attention, (1, 4))
    parts = [heatmap(attention, (t, t + 1)) for t in (1, 2, 3)]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-6)


def test_sum_is_the_share_on_the_image(attention):
    share = image_share(attention, (0, 2))
    assert heatmap(attention, (0, 2)).sum() == pytest.approx(share)
    on_prefix = attention.weights[:, :, 0:2, :2].sum(-1).mean()
    assert share + on_prefix == pytest.approx(1, abs=1e-6)


def test_permuting_patches_permutes_the_map(attention):
    order = np.random.default_rng(1).permutation(6)
    moved = attention.weights.copy()
    moved[..., 2:] = attention.weights[..., 2:][..., order]
    found = heatmap(CrossAttention(moved, (2, 3), 2), (0, 1)).ravel()
    np.testing.assert_array_equal(found, heatmap(attention, (0, 1)).ravel()[order])


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
        heatmap(attention, **arguments)


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
    found = heatmap(record, (1, 3), "gradient", head=1)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="needs gradients, which this record lacks"):
        heatmap(attention, (1, 3), "gradient")
    with pytest.raises(ValueError, match="gradients .* of weights"):
        CrossAttention(attention.weights, (2, 3), 2, gradients[:1])


def test_weights_must_fit_the_grid():
    with pytest.raises(ValueError, match="do not fit 1 prefix tokens and 2 × 2 patches"):
        CrossAttention(np.zeros((1, 1, 1, 6)), (2, 2), 1)
