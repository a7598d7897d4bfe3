"""Self-critical training: captions the model draws itself, rewarded with CIDEr.

Rennie et al. 2017, "Self-critical sequence training"; as the baseline stands the mean reward of
the other captions drawn for the same photo (Luo 2020, "A better variant of self-critical").
"""

from collections import Counter
from collections.abc import Sequence
from math import exp, log, sqrt

import torch
from torch import Tensor

from model.captioner import Captioner
from training.data.dataset import IGNORED, collate_captions
from training.data.ptb_tokenizer import tokenize

LONGEST = 4  # words in an n-gram
SIGMA = 6.0  # of the penalty on a length unlike the reference's
END = "</s>"


class CiderReward:
    """CIDEr-D (Vedantam et al. 2015) of captions that are made while training goes on.

    Document frequencies are those of `references`, one list of captions an image, and everything
    about these is computed once. With `end` the end counts as a word: without it a caption loses
    nothing by breaking off ("a man in a").
    """

    def __init__(self, references: Sequence[Sequence[str]], end: bool = True):
        self._end = [END] if end else []
        counted = [[self._count(caption) for caption in captions] for captions in references]
        frequency = Counter(
            ngram for captions in counted for ngram in set().union(*(c.keys() for c in captions))
        )
        self._num_images = len(counted)
        self._frequency = frequency
        self._references = [[self._weigh(c) for c in captions] for captions in counted]

    @property
    def can_rise(self) -> bool:
        """Whether any caption can earn points: not where every n-gram is in all references."""
        return any(any(norms) for image in self._references for _, norms, _ in image)

    def __call__(self, image: int, captions: Sequence[str]) -> list[float]:
        """Points, 0 to 1000, of captions for one image (its place in `references`).

        Without a reference no caption earns any.
        """
        known = self._references[image]
        return [
            100 * sum(_similar(made, one) for one in known) / max(1, len(known))
            for made in (self._weigh(self._count(caption)) for caption in captions)
        ]

    def _count(self, caption: str) -> Counter:
        words = tokenize(caption) + self._end
        return Counter(
            tuple(words[i : i + n])
            for n in range(1, LONGEST + 1)
            for i in range(len(words) - n + 1)
        )

    def _weigh(self, counted: Counter) -> tuple[list[dict], list[float], int]:
        """tf-idf by n-gram for each n, the norms of these vectors, and the length."""
        vectors: list[dict] = [{} for _ in range(LONGEST)]
        for ngram, times in counted.items():
            weight = log(self._num_images) - log(max(1, self._frequency[ngram]))
            vectors[len(ngram) - 1][ngram] = times * weight
        norms = [sqrt(sum(w * w for w in vector.values())) for vector in vectors]
        # pycocoevalcap takes the number of word pairs for the length
        return vectors, norms, sum(times for ngram, times in counted.items() if len(ngram) == 2)


def _similar(made, reference) -> float:
    total = 0.0
    for n in range(LONGEST):
        if not made[1][n] or not reference[1][n]:
            continue
        other = reference[0][n]
        product = sum(
            min(weight, other[ngram]) * other[ngram]
            for ngram, weight in made[0][n].items()
            if ngram in other
        )
        total += product / (made[1][n] * reference[1][n])
    away = made[2] - reference[2]
    return 10 * total / LONGEST * exp(-away * away / (2 * SIGMA**2))


def self_critical_loss(
    captioner: Captioner, image_features: Tensor, images: Tensor, reward: CiderReward, samples: int
) -> Tensor:
    """-(reward - baseline) · log-probability: the mean over a photo's tokens, then over photos.

    Args:
        image_features: (B, S, image_width), with gradients where the encoder learns.
        images: (B,) each image's place in the reward's references (mirrored ones have their own).
        samples: captions drawn for each image, at least 2.
    """
    captioner.decoder.eval()  # what is drawn is what is rated: no dropout in either
    drawn = captioner.captions(
        image_features.detach(),
        sample=True,
        num_captions=samples,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        no_repeat_ngram=0,
        min_length=0,
        seed=int(torch.randint(2**31, ())),  # so that a resumed run draws the same
    )
    points = torch.tensor(
        [
            reward(int(image), [caption.text for caption in captions])
            for image, captions in zip(images, drawn, strict=True)
        ]
    )
    baseline = (points.sum(1, keepdim=True) - points) / (samples - 1)
    advantage = ((points - baseline) / 100).to(image_features.device)
    start = captioner.tokenizer.start
    tokens, labels = collate_captions([[[start, *c.tokens] for c in image] for image in drawn])
    tokens, labels = tokens.to(advantage.device), labels.to(advantage.device)
    logits = captioner(tokens, image_features=image_features).float()
    mask = labels != IGNORED
    chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    of_photo = (advantage[..., None] * chosen * mask).sum((1, 2)) / mask.sum((1, 2))
    return -of_photo.mean()
