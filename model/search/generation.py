"""Choosing the words: greedy, beam search and sampling on an explicit KV cache.

The decoder rates the next token (`TextDecoder.forward`); the functions here pick. All of them
work on batches of images, share the image's keys and values between the hypotheses of an image,
and stop when nothing that is still open can change the result. Each yields after every step, so
that a caller can show the caption as it grows; the last value is the result.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import NamedTuple

import torch
from torch import Tensor

from model.errors import OptionError
from model.network.decoder import Cache, TextDecoder


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """How to choose the words.

    Attributes:
        num_beams: hypotheses kept open by beam search; 1 is greedy. Sampling does not use it.
        num_captions: captions for each image, best first; at most `num_beams`, or any number
            with sampling.
        max_length, min_length: in tokens, the end token not counted. A caption that reaches
            `max_length` is cut there, without an end token.
        length_penalty: beams are ranked by log-probability / length ** length_penalty; 0 favours
            short captions, 1 the mean over tokens (Wu et al. 2016, without their constant).
        early_stopping: when beam search is content. "never" before nothing better can be found;
            False and True as transformers has them, for captions equal to its own: when the
            leading beam, ended here, would be no better than the `num_beams` captions found, or
            as soon as there are so many.
        no_repeat_ngram: no sequence of this many tokens occurs twice, capitals or not; 0: any may.
        sample: draw the words at random instead of searching for the likeliest.
        temperature, top_k, top_p: shape of the draw (0 and 1 leave top_k and top_p off).
        seed: the same seed draws the same captions, whatever else is in the batch.
    """

    num_beams: int = 5
    num_captions: int = 1
    max_length: int = 40
    min_length: int = 0
    length_penalty: float = 1.0
    early_stopping: bool | str = "never"
    no_repeat_ngram: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self):
        for name, lowest in (
            ("num_beams", 1),
            ("num_captions", 1),
            ("max_length", 1),
            ("min_length", 0),
            ("no_repeat_ngram", 0),
            ("top_k", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < lowest:
                raise OptionError(f"{name} must be a whole number from {lowest}, not {value!r}")
            object.__setattr__(self, name, int(value))  # NumPy's too
        for name in ("temperature", "top_p"):
            if not isinstance(getattr(self, name), Real):
                raise OptionError(f"{name} must be a number, not {getattr(self, name)!r}")
        if not isinstance(self.length_penalty, Real) or not abs(self.length_penalty) <= 10:
            raise OptionError(f"length_penalty must be from -10 to 10, not {self.length_penalty!r}")
        if self.seed is not None:
            if not isinstance(self.seed, Integral) or not -(2**63) <= self.seed < 2**64:
                raise OptionError(f"seed must be a whole number of 64 bits, not {self.seed!r}")
            object.__setattr__(self, "seed", int(self.seed))
        if self.min_length > self.max_length:
            raise OptionError(
                f"min_length {self.min_length} is more than max_length {self.max_length}"
            )
        if self.early_stopping not in (False, True, "never"):
            raise OptionError(
                f"early_stopping must be False, True or 'never', not {self.early_stopping!r}"
            )
        if not self.temperature > 0:
            raise OptionError(f"temperature must be above 0, not {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1, not {self.top_p!r}")
        if not self.sample and self.num_captions > self.num_beams:
            raise OptionError(
                f"num_captions {self.num_captions} is more than num_beams {self.num_beams}; "
                "raise num_beams, or sample"
            )

    @classmethod
    def create(cls, **values) -> "DecodingOptions":
        """As the constructor, but an unknown name is a ValueError that lists the valid ones."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise OptionError(f"unknown option {name!r}; choose from {', '.join(known)}")
        return cls(**values)


class Hypothesis(NamedTuple):
    """A caption, or the beginning of one: chosen tokens (the end token too) and what the model
    gave each as log-probability."""

    tokens: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()

    def then(self, token: int, log_probability: float) -> "Hypothesis":
        return Hypothesis((*self.tokens, token), (*self.log_probabilities, log_probability))

    def score(self, length_penalty: float) -> float:
        return sum(self.log_probabilities) / len(self.tokens) ** length_penalty


def last_token(hypothesis: Hypothesis, start: int) -> int:
    """The token that the next one follows."""
    return hypothesis.tokens[-1] if hypothesis.tokens else start


# For each image of the batch its hypotheses, best first.
Ranked = list[list[Hypothesis]]
NONE_ALIKE: Mapping[int, int] = {}


def generate(
    decoder: TextDecoder,
    cache: Cache,
    start: int,
    end: int,
    options: DecodingOptions,
    prefix: Sequence[int] = (),
    alike: Mapping[int, int] = NONE_ALIKE,
) -> Iterator[Ranked]:
    """Caption the images behind `cache`; yields the leading hypotheses after every step.

    Args:
        cache: from `decoder.look_at(image_features)`.
        start, end: ids of the tokens that begin and end a caption.
        prefix: the caption's first tokens, given instead of chosen.
        alike: tokens that `no_repeat_ngram` takes for others.

    Raises ValueError when `max_length` is more than the decoder has positions for, or the prefix
    is longer than `max_length`.
    """
    if options.max_length > decoder.max_length - 1:
        raise OptionError(
            f"max_length {options.max_length} is more than this captioner's "
            f"{decoder.max_length - 1} tokens"
        )
    if len(prefix) > options.max_length:
        raise OptionError(
            f"the beginning has {len(prefix)} tokens, more than max_length {options.max_length}"
        )
    begun, cache = read([start, *prefix], decoder, cache)
    if len(prefix) == options.max_length:
        return iter([[[hypothesis] * options.num_captions for hypothesis in begun]])
    choose = _beam_search
    if options.sample or options.num_beams == 1:
        choose = _one_by_one
    return choose(decoder, cache, begun, start, end, options, alike)


@torch.inference_mode()
def read(tokens: list[int], decoder: TextDecoder, cache: Cache) -> tuple[list[Hypothesis], Cache]:
    """Every image's caption begun with tokens[1:]; the last is left for the first step to read."""
    num_images = len(cache[0].cross_attn.keys)
    if len(tokens) == 1:
        return [Hypothesis()] * num_images, cache
    ids = torch.tensor(tokens, device=cache[0].cross_attn.keys.device)
    output = decoder(ids[:-1].expand(num_images, -1), cache)
    rated = output.logits.float().log_softmax(dim=-1)
    said = rated.gather(2, ids[1:].expand(num_images, -1)[..., None])[..., 0].tolist()
    return [Hypothesis(tuple(tokens[1:]), tuple(image)) for image in said], output.cache


@torch.inference_mode()
def step(decoder: TextDecoder, last_tokens: list[int], cache: Cache) -> tuple[Tensor, Cache]:
    """Log-probabilities (rows, vocab_size) of the token after each row's last one."""
    device = cache[0].cross_attn.keys.device
    output = decoder(torch.tensor(last_tokens, device=device)[:, None], cache)
    return output.logits[:, -1].float().log_softmax(dim=-1), output.cache


def select(cache: Cache, rows: list[int], images: list[int] | None = None) -> Cache:
    """Keep these hypotheses (rows), and of the images only `images` (all, if None)."""
    device = cache[0].cross_attn.keys.device
    rows = torch.tensor(rows, dtype=torch.long, device=device)
    if images is not None:
        images = torch.tensor(images, dtype=torch.long, device=device)
    return tuple(
        layer._replace(
            self_attn=layer.self_attn.select(rows),
            cross_attn=layer.cross_attn if images is None else layer.cross_attn.select(images),
        )
        for layer in cache
    )


def _is_whole(hypothesis: Hypothesis, end: int, options: DecodingOptions) -> bool:
    tokens = hypothesis.tokens
    return tokens[-1:] == (end,) or len(tokens) == options.max_length


def forbid(
    log_probabilities: Tensor,
    hypotheses: list[Hypothesis],
    end: int,
    options: DecodingOptions,
    alike: Mapping[int, int] = NONE_ALIKE,
) -> Tensor:
    """Log-probabilities with -inf for what the options rule out at this step."""
    length = len(hypotheses[0].tokens)
    allowed = log_probabilities.clone()
    if length < options.min_length:
        allowed[:, end] = float("-inf")
    n = options.no_repeat_ngram
    if n:
        for row, hypothesis in enumerate(hypotheses):
            tokens = tuple(alike.get(token, token) for token in hypothesis.tokens)
            opening = tokens[length - n + 1 :] if n > 1 else ()
            for i in range(length - n + 1):
                if tokens[i : i + n - 1] == opening:
                    allowed[row, tokens[i + n - 1]] = float("-inf")
    stuck = allowed.isneginf().all(dim=1)  # a caption with nowhere to go ends
    allowed[stuck, end] = log_probabilities[stuck, end]
    return allowed


def _one_by_one(
    decoder: TextDecoder,
    cache: Cache,
    begun: list[Hypothesis],
    start: int,
    end: int,
    options: DecodingOptions,
    alike: Mapping[int, int],
) -> Iterator[Ranked]:
    """Greedy and sampling: each hypothesis grows on its own, a token a step."""
    num_images, group = len(begun), options.num_captions
    results: Ranked = [[hypothesis] * group for hypothesis in begun]
    generators = [torch.Generator() for _ in results]
    for generator in generators:
        if options.seed is None:
            generator.seed()
        else:
            generator.manual_seed(options.seed)
    running = list(range(num_images))
    last_tokens = [last_token(h, start) for image in results for h in image]
    if begun[0].tokens:
        cache = select(cache, [image for image in running for _ in range(group)])
    while running:
        log_probabilities, cache = step(decoder, last_tokens, cache)
        # Rows that have ended stay, unread, until all of their image have: rows per image
        # must be equal for them to share its keys and values.
        last_tokens = []
        for k, image in enumerate(running):
            rows = log_probabilities[k * group : (k + 1) * group]
            for row, hypothesis in enumerate(results[image]):
                if hypothesis.tokens[-1:] == (end,):
                    last_tokens.append(end)
                    continue
                allowed = forbid(rows[row : row + 1], [hypothesis], end, options, alike)[0]
                token = (
                    _draw(allowed, options, generators[image])
                    if options.sample
                    else int(allowed.argmax())
                )
                results[image][row] = hypothesis.then(token, float(rows[row, token]))
                last_tokens.append(token)
        yield [sorted(image, key=lambda h: -sum(h.log_probabilities)) for image in results]
        still = [
            k
            for k, image in enumerate(running)
            if not all(_is_whole(h, end, options) for h in results[image])
        ]
        if len(still) < len(running):
            rows = [k * group + i for k in still for i in range(group)]
            running = [running[k] for k in still]
            last_tokens = [last_tokens[row] for row in rows]
            cache = select(cache, rows, still)


def _draw(log_probabilities: Tensor, options: DecodingOptions, generator: torch.Generator) -> int:
    """A token at random, after temperature, top-k and nucleus (Holtzman et al. 2020)."""
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


def _beam_search(
    decoder: TextDecoder,
    cache: Cache,
    begun: list[Hypothesis],
    start: int,
    end: int,
    options: DecodingOptions,
    alike: Mapping[int, int],
) -> Iterator[Ranked]:
    """The `num_beams` likeliest beginnings grow side by side, those that end are set aside.

    When an image is done says `early_stopping`.
    """
    num_images, num_beams = len(begun), options.num_beams
    wanted = options.num_captions if options.early_stopping == "never" else num_beams

    def rank(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        alive = [h for h in hypotheses if h.log_probabilities[-1] > float("-inf")]
        alive.sort(key=lambda h: h.score(options.length_penalty), reverse=True)
        return alive[:wanted]

    ended: Ranked = [[] for _ in range(num_images)]
    beams: Ranked = [[hypothesis] for hypothesis in begun]
    running = list(range(num_images))
    while running:
        last_tokens = [last_token(h, start) for i in running for h in beams[i]]
        log_probabilities, cache = step(decoder, last_tokens, cache)
        group = len(last_tokens) // len(running)
        hypotheses = [h for image in running for h in beams[image]]
        allowed = forbid(log_probabilities, hypotheses, end, options, alike)
        totals = torch.tensor([sum(h.log_probabilities) for h in hypotheses])
        totals = totals.to(allowed.device)[:, None] + allowed
        vocab_size = allowed.shape[1]
        # Of the best 2·num_beams at most num_beams end, so enough are left to go on with.
        best = totals.view(len(running), -1).topk(min(2 * num_beams, group * vocab_size))
        rows, still, kept = [], [], []
        for k, image in enumerate(running):
            grown = []
            for place, (total, index) in enumerate(
                zip(best.values[k].tolist(), best.indices[k].tolist(), strict=True)
            ):
                if total == float("-inf") or len(grown) == num_beams:
                    break
                row, token = k * group + index // vocab_size, index % vocab_size
                hypothesis = hypotheses[row].then(token, float(log_probabilities[row, token]))
                if not _is_whole(hypothesis, end, options):
                    grown.append((row, hypothesis))
                elif place < num_beams:
                    ended[image].append(hypothesis)
            beams[image] = [hypothesis for _, hypothesis in grown]
            ended[image] = rank(ended[image])
            if grown and not _is_settled(ended[image], beams[image], wanted, options):
                still.append(k)
                kept.append(image)
                # A small vocabulary may not fill the beams; images of a batch need equally
                # many rows, so dead ones stand in.
                row, hypothesis = grown[-1]
                dead = hypothesis._replace(log_probabilities=(float("-inf"),))
                missing = num_beams - len(grown)
                beams[image] += [dead] * missing
                rows += [row for row, _ in grown] + [row] * missing
        ranked = [rank(ended[i] + (beams[i] if i in kept else [])) for i in range(num_images)]
        yield [hypotheses[: options.num_captions] for hypotheses in ranked]
        if kept:
            cache = select(cache, rows, still if len(still) < len(running) else None)
        running = kept


def _is_settled(
    ended: list[Hypothesis], beams: list[Hypothesis], wanted: int, options: DecodingOptions
) -> bool:
    """Whether the worst of the wanted captions stands.

    Log-probabilities only fall from here on, so a beam's best is to keep its total at the length
    that favours it: the longest for a positive length penalty, else the next. transformers takes
    the present length instead, unless it is told to stop "never".
    """
    if len(ended) < wanted:
        return False
    if options.early_stopping is True:
        return True
    length = len(beams[0].tokens)
    if options.early_stopping == "never":
        length = options.max_length if options.length_penalty > 0 else length + 1
    best = max(sum(h.log_probabilities) for h in beams) / length**options.length_penalty
    return best <= ended[-1].score(options.length_penalty)
