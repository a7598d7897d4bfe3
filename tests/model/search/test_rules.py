"""What may not follow: an end that is too early, and n-grams that repeat."""

import pytest
import torch

from model.search.options import DecodingOptions
from model.search.rules import find_repeating_tokens, mask_forbidden

END = 1


def test_equal_tokens_are_no_other_words():
    """With 5 ("A") taken for 3 (" a"): "A dog and a" does not go on with "dog"."""
    rated, options = torch.zeros(1, 10), DecodingOptions(no_repeat_ngram=2)
    tokens = (5, 7, 6, 3)
    assert not mask_forbidden(rated, [tokens], [END], options).isinf().any()
    forbidden = mask_forbidden(rated, [tokens], [END], options, {5: 3}).isinf()
    assert forbidden.nonzero().tolist() == [[0, 7]]


@pytest.mark.parametrize(
    "n, repeating",
    [(0, []), (1, [2, 4, 6, 2, 4]), (2, [6]), (3, [6]), (4, []), (9, [])],
)
def test_tokens_that_would_repeat_an_ngram(n, repeating):
    assert find_repeating_tokens((2, 4, 6, 2, 4), n) == repeating


def test_each_row_by_its_own_tokens_and_no_end_too_early():
    rated = torch.arange(8.0).expand(2, -1)
    options = DecodingOptions(no_repeat_ngram=1, min_length=3)
    allowed = mask_forbidden(rated, [(2, 3), (4, 4)], [END], options)
    assert allowed.isneginf().nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 4]]
    kept = ~allowed.isneginf()
    assert allowed[kept].equal(rated[kept])
    assert not mask_forbidden(rated, [(2, 3, 5)] * 2, [END], options)[:, END].isinf().any()


def test_a_caption_with_nowhere_to_go_ends():
    rated, options = torch.zeros(1, 3), DecodingOptions(no_repeat_ngram=1, min_length=9)
    assert mask_forbidden(rated, [(0, 2)], [END], options).isneginf().tolist() == [
        [True, False, True]
    ]
