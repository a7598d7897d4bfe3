"""Choosing the words: greedy, beam search and sampling on an explicit cache of keys and values.

The decoder rates the next token; the functions of this folder pick. All of them work on batches of
images, share the image's keys and values between the hypotheses of an image, and stop when nothing
that is still open can change the result. Each yields after every step, so that a caller can show
the caption as it grows; the last value is the result.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from model.errors import CheckpointError, OptionError
from model.network.cache import Cache
from model.network.decoder import Decoder
from model.network.network import Network
from model.network.saved_config import SavedConfig
from model.network.tokenizer import CaptionTokenizer
from model.search.beams import search_beams
from model.search.caption import Caption, add_probabilities
from model.search.hypothesis import Hypothesis, Ranked, SearchTask
from model.search.options import DecodingOptions
from model.search.rules import NO_EQUAL_TOKENS
from model.search.sampling import grow_one_by_one


def choose_options(config: SavedConfig, **values: Any) -> DecodingOptions:
    """A checkpoint's own decoding options, changed as given.

    Raises OptionError for values that cannot be used.
    """
    longest = min(DecodingOptions.max_length, config.max_length - 1)
    merged = {"max_length": longest, **config.decoding, **values}
    if "num_beams" not in values and not values.get("sample"):
        # asking for more captions than the usual beams widens the search
        usual = merged.get("num_beams", DecodingOptions.num_beams)
        num_captions = merged.get("num_captions", 1)
        if isinstance(usual, Integral) and isinstance(num_captions, Integral):
            merged["num_beams"] = max(usual, num_captions)
    return DecodingOptions.create(**merged)


def generate(
    decoder: Decoder,
    cache: Cache,
    start: int,
    ends: Collection[int],
    options: DecodingOptions,
    prefix: Sequence[int] = (),
    equal_tokens: Mapping[int, int] = NO_EQUAL_TOKENS,
) -> Iterator[Ranked]:
    """Caption the images behind `cache`; yields the leading hypotheses after every step.

    Args:
        cache: from `decoder.look_at(image_features)`.
        start: id of the token that begins a caption.
        ends: ids of the tokens that end one.
        prefix: the caption's first tokens, given instead of chosen.
        equal_tokens: tokens that `no_repeat_ngram` takes for others.

    Raises OptionError when `max_length` is more than the decoder has positions for, or the prefix
    is longer than `max_length`.
    """
    if options.max_length > decoder.max_length - 1:
        raise OptionError(
            f"max_length {options.max_length} is more than this captioner's "
            f"{decoder.max_length - 1} tokens"
        )
    check_prefix_length(len(prefix), options.max_length)
    task = SearchTask(decoder, start, ends, options, equal_tokens)
    begun, cache = task.read_prefix(prefix, cache)
    if len(prefix) == options.max_length:
        return iter([[[hypothesis] * options.num_captions for hypothesis in begun]])
    if options.sample or options.num_beams == 1:
        return grow_one_by_one(task, begun, cache)
    return search_beams(task, begun, cache)


def check_prefix_length(num_tokens: int, max_length: int) -> None:
    """Raise OptionError for a beginning of more tokens than a caption may have."""
    if num_tokens > max_length:
        raise OptionError(
            f"the beginning has {num_tokens} tokens; it may have at most {max_length}"
        )


def stream_captions(
    network: Network,
    image_features: Tensor,
    options: DecodingOptions,
    prefix: str = "",
    visible: Tensor | None = None,
) -> Iterator[list[list[Caption]]]:
    """For each image the `num_captions` leading captions, after every step.

    image_features: (images, S, image_width), as `Network.encode` gives them, with what each
        remembers behind them, if anything.
    visible: (images, S) bool, where some remember less than others; see `Cache`.
    """
    with torch.inference_mode():
        # only our own decoder, which alone has a memory, knows of padding
        cache = network.decoder.look_at(image_features, *(() if visible is None else (visible,)))
    yield from stream_from_cache(network, cache, options, prefix)


def stream_from_cache(
    network: Network, cache: Cache, options: DecodingOptions, prefix: str = ""
) -> Iterator[list[list[Caption]]]:
    """As `stream_captions`, of the images behind a cache from `decoder.look_at`."""
    tokenizer = network.tokenizer
    prefix_tokens, _ = tokenizer.encode(prefix)
    steps = generate(
        network.decoder,
        cache,
        tokenizer.start,
        tokenizer.ends,
        options,
        prefix_tokens,
        tokenizer.equal_tokens,
    )
    for ranked in steps:
        yield [[to_caption(h, tokenizer) for h in hypotheses] for hypotheses in ranked]


def write_captions(
    network: Network,
    image_features: Tensor,
    options: DecodingOptions,
    prefix: str = "",
    on_step: Callable[[], object] | None = None,
    visible: Tensor | None = None,
) -> list[list[Caption]]:
    """For each image its `num_captions` captions, best first.

    image_features, visible: see `stream_captions`.
    on_step: called after every token; what it raises ends the search.

    Raises CheckpointError when the network's numbers are not finite.
    """
    if not len(image_features):
        return []
    steps = stream_captions(network, image_features, options, prefix, visible)
    for captions in steps:  # noqa: B007
        if on_step:
            on_step()
    if not all(captions):
        raise CheckpointError("the model finds no caption: its numbers are not finite")
    return captions


def to_caption(hypothesis: Hypothesis, tokenizer: CaptionTokenizer) -> Caption:
    """The text of a hypothesis, whole or still growing, with the probabilities of its words."""
    tokens, log_probabilities = hypothesis
    words = add_probabilities(
        tokenizer.words(tokens[:-1] if tokens and tokens[-1] in tokenizer.ends else tokens),
        log_probabilities,
    )
    return Caption(
        text=" ".join(word.text for word in words),
        words=words,
        log_probability=sum(log_probabilities),
        tokens=tokens,
    )
