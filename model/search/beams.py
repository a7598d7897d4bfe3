"""Beam search: the likeliest beginnings grow side by side, those that end are set aside."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.network.cache import Cache
from model.search.hypothesis import Hypothesis, Ranked, SearchTask


def search_beams(task: SearchTask, begun: list[Hypothesis], cache: Cache) -> Iterator[Ranked]:
    """Keep `num_beams` hypotheses open for each image; yields the leading ones after every step.

    `early_stopping` says when an image is done.
    """
    options, num_images = task.options, len(begun)
    # captions that an image must have before it may be done
    wanted = options.num_captions if options.early_stopping == "never" else options.num_beams
    ended: Ranked = [[] for _ in range(num_images)]
    beams: Ranked = [[hypothesis] for hypothesis in begun]
    running = list(range(num_images))
    while running:
        hypotheses = [h for image in running for h in beams[image]]
        rated, cache = task.rate_next_tokens(hypotheses, cache)
        grown = _grow(task, hypotheses, rated, len(running))
        rows: list[int] = []  # of the old cache, one for each new beam
        still: list[int] = []  # places in `running` that go on
        for k, (image, (open_rows, open_, whole)) in enumerate(zip(running, grown, strict=True)):
            ended[image] = _rank(ended[image] + whole, wanted, task)
            beams[image] = open_
            if open_ and not _is_settled(ended[image], open_, wanted, task):
                still.append(k)
                # A small vocabulary may not fill the beams; images of a batch need equally
                # many rows, so dead ones stand in.
                missing = options.num_beams - len(open_)
                dead = open_[-1]._replace(log_probabilities=(float("-inf"),))
                beams[image] = open_ + [dead] * missing
                rows += open_rows + [open_rows[-1]] * missing
        going_on = [running[k] for k in still]
        ranked = [
            _rank(ended[i] + (beams[i] if i in going_on else []), wanted, task)
            for i in range(num_images)
        ]
        yield [hypotheses[: options.num_captions] for hypotheses in ranked]
        if going_on:
            cache = cache.select(rows, still if len(still) < len(running) else None)
        running = going_on


def _grow(
    task: SearchTask, hypotheses: list[Hypothesis], rated: Tensor, num_images: int
) -> Iterator[tuple[list[int], list[Hypothesis], list[Hypothesis]]]:
    """For each image the best hypotheses with one more token: the rows of those that go on, these
    themselves, and those that are whole."""
    num_beams, group = task.options.num_beams, len(hypotheses) // num_images
    allowed = task.mask_forbidden(rated, hypotheses)
    totals = torch.tensor([sum(h.log_probabilities) for h in hypotheses])
    totals = totals.to(allowed.device)[:, None] + allowed
    vocab_size = allowed.shape[1]
    # Of each hypothesis's continuations only `ends` end it, so enough are left to go on with.
    best = totals.view(num_images, -1).topk(
        min((1 + len(task.ends)) * num_beams, group * vocab_size)
    )
    for k, (values, indices) in enumerate(
        zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ):
        rows: list[int] = []
        open_: list[Hypothesis] = []
        whole: list[Hypothesis] = []
        for rank, (total, index) in enumerate(zip(values, indices, strict=True)):
            if total == float("-inf") or len(open_) == num_beams:
                break
            row, token = k * group + index // vocab_size, index % vocab_size
            hypothesis = hypotheses[row].append(token, float(rated[row, token]))
            if not task.is_whole(hypothesis):
                rows.append(row)
                open_.append(hypothesis)
            elif rank < num_beams:
                whole.append(hypothesis)
        yield rows, open_, whole


def _rank(hypotheses: list[Hypothesis], wanted: int, task: SearchTask) -> list[Hypothesis]:
    """The best of these that are alive, best first."""
    alive = [h for h in hypotheses if h.log_probabilities[-1] > float("-inf")]
    alive.sort(key=task.score, reverse=True)
    return alive[:wanted]


def _is_settled(
    ended: list[Hypothesis], beams: list[Hypothesis], wanted: int, task: SearchTask
) -> bool:
    """Whether the worst of the wanted captions stands.

    Log-probabilities only fall from here on, so a beam's best is to keep its total at the length
    that favours it: the longest for a positive length penalty, else the next. transformers takes
    the present length instead, unless it is told to stop "never".
    """
    options = task.options
    if len(ended) < wanted:
        return False
    if options.early_stopping is True:
        return True
    length = len(beams[0].tokens)
    if options.early_stopping == "never":
        length = options.max_length if options.length_penalty > 0 else length + 1
    length += task.decoder.num_forced_tokens
    best = max(sum(h.log_probabilities) for h in beams) / length**options.length_penalty
    return best <= task.score(ended[-1])
