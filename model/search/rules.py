"""What the options rule out at a step: an end that is too early, and n-grams that repeat.

transformers' LogitsProcessors do the same to whole batches, but know of no equal tokens, and
importing them takes longer than a caption does.
"""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from model.search.options import DecodingOptions

NO_EQUAL_TOKENS: Mapping[int, int] = {}


def mask_forbidden(
    log_probabilities: Tensor,
    tokens: Sequence[tuple[int, ...]],
    ends: Collection[int],
    options: DecodingOptions,
    equal_tokens: Mapping[int, int] = NO_EQUAL_TOKENS,
) -> Tensor:
    """Log-probabilities with -inf for what may not follow.

    log_probabilities: (rows, vocab_size) of the next token.
    tokens: of each row, equally many, those that stand before it.
    ends: the tokens that end a caption.
    equal_tokens: tokens that `no_repeat_ngram` takes for others.
    """
    length = len(tokens[0])
    allowed = log_probabilities.clone()
    if length < options.min_length:
        allowed[:, list(ends)] = float("-inf")
    for row, row_tokens in enumerate(tokens):
        for token in find_repeating_tokens(row_tokens, options.no_repeat_ngram, equal_tokens):
            allowed[row, token] = float("-inf")
    stuck = allowed.isneginf().all(dim=1)  # a caption with nowhere to go ends
    for end in ends:
        allowed[stuck, end] = log_probabilities[stuck, end]
    return allowed


def find_repeating_tokens(
    tokens: Sequence[int], n: int, equal_tokens: Mapping[int, int] = NO_EQUAL_TOKENS
) -> list[int]:
    """The tokens that would end an n-gram which is there already; none for n = 0."""
    if not n:
        return []
    merged = [equal_tokens.get(token, token) for token in tokens]
    opening = merged[len(merged) - n + 1 :] if n > 1 else []
    starts = range(len(merged) - n + 1)
    return [merged[i + n - 1] for i in starts if merged[i : i + n - 1] == opening]
