"""Greedy decoding and sampling: each hypothesis grows on its own, a token a step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.network.cache import Cache
from model.search.hypothesis import Hypothesis, Ranked, SearchTask
from model.search.options import DecodingOptions


def grow_one_by_one(task: SearchTask, begun: list[Hypothesis], cache: Cache) -> Iterator[Ranked]:
    """Grow `num_captions` hypotheses for each image; yields all of them after every step."""
    options, group = task.options, task.options.num_captions
    results: Ranked = [[hypothesis] * group for hypothesis in begun]
    generators = [_seed_generator(options.seed) for _ in results]
    running = list(range(len(begun)))  # images that have a caption still open
    if cache.length:
        cache = cache.select([image for image in running for _ in range(group)])
    while running:
        # Rows that have ended stay, unread, until all of their image have: rows per image
        # must be equal for them to share its keys and values.
        rated, cache = task.rate_next_tokens([h for i in running for h in results[i]], cache)
        for k, image in enumerate(running):
            rows = rated[k * group : (k + 1) * group]
            results[image] = [
                _choose_next(task, hypothesis, row, generators[image])
                for hypothesis, row in zip(results[image], rows, strict=True)
            ]
        yield [sorted(image, key=lambda h: -sum(h.log_probabilities)) for image in results]
        still = [
            k for k, image in enumerate(running) if not all(map(task.is_whole, results[image]))
        ]
        if len(still) < len(running):
            rows_left = [k * group + i for k in still for i in range(group)]
            cache = cache.select(rows_left, still)
            running = [running[k] for k in still]


def _choose_next(
    task: SearchTask, hypothesis: Hypothesis, rated: Tensor, generator: torch.Generator
) -> Hypothesis:
    """The hypothesis with one more token, or as it is if it has ended. rated: (vocab_size,)"""
    if task.has_ended(hypothesis):
        return hypothesis
    allowed = task.mask_forbidden(rated[None], [hypothesis])[0]
    if task.options.sample:
        token = draw_token(allowed, task.options, generator)
    else:
        token = int(allowed.argmax())
    return hypothesis.append(token, float(rated[token]))


def _seed_generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def draw_token(
    log_probabilities: Tensor, options: DecodingOptions, generator: torch.Generator
) -> int:
    """A token at random, after temperature, top-k and nucleus (Holtzman et al. 2020).

    log_probabilities: (vocab_size,)
    """
    scaled = log_probabilities.cpu() / options.temperature
    if not options.top_k and options.top_p == 1:  # nothing to cut off, so no need to sort
        return int(torch.multinomial(scaled.softmax(dim=-1), 1, generator=generator))
    ranked, tokens = scaled.sort(descending=True)
    probabilities = ranked.softmax(dim=-1)
    # A token stays while those before it hold less than top_p; the first always stays.
    keep = probabilities.cumsum(dim=-1) - probabilities < options.top_p
    if options.top_k:
        keep[options.top_k :] = False
    drawn = torch.multinomial(probabilities * keep, 1, generator=generator)
    return int(tokens[drawn])
