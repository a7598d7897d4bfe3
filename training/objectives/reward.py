"""Self-critical training: captions that the model samples itself, rewarded with CIDEr.

Rennie et al. 2017, "Self-critical Sequence Training for Image Captioning". The baseline is the mean
reward of the other captions sampled for the same photo (Luo 2020, "A Better Variant of
Self-Critical Sequence Training").
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import exp, log, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from model.corpora.ptb_tokenizer import tokenize
from model.network.network import Network
from model.search.generation import choose_options, write_captions
from training.data.dataset import IGNORED, collate_captions

Ngram = tuple[str, ...]
MAX_NGRAM = 4  # words
LENGTH_SIGMA = 6.0  # of the Gaussian penalty on a length that differs from the reference's
END = "</s>"


class WeighedCaption(NamedTuple):
    """A caption as CIDEr compares it.

    Attributes:
        vectors: for n = 1 to 4, the tf-idf weight of each n-gram.
        norms: of these vectors.
        length: the number of word pairs, which pycocoevalcap takes for the length.
    """

    vectors: list[dict[Ngram, float]]
    norms: list[float]
    length: int


class CiderReward:
    """CIDEr-D (Vedantam et al. 2015) of captions that are sampled during training.

    The end of a caption counts as a word: else it would cost nothing to break off ("a man in a").

    Args:
        references: one list of captions per view of a photo, at the places of
            `training.data.dataset.get_view_index`.
        corpora: which corpus each of them is from. A corpus's own references give the document
            frequencies of its captions: what is rare depends on who wrote. One for all if None.
    """

    def __init__(self, references: Sequence[Sequence[str]], corpora: Sequence[str] | None = None):
        self._corpora = corpora or [""] * len(references)
        counts = [[count_ngrams(caption) for caption in captions] for captions in references]
        self._num_documents = Counter(self._corpora)
        self._document_frequencies: dict[str, Counter[Ngram]] = defaultdict(Counter)
        for corpus, captions in zip(self._corpora, counts, strict=True):
            ngrams = set().union(*(caption.keys() for caption in captions))
            self._document_frequencies[corpus].update(ngrams)
        self._references = [
            [self._weigh_ngrams(caption, corpus) for caption in captions]
            for corpus, captions in zip(self._corpora, counts, strict=True)
        ]

    @property
    def can_rise(self) -> bool:
        """Whether any caption can earn points: not where every n-gram is in all references."""
        return any(any(caption.norms) for captions in self._references for caption in captions)

    def __call__(self, view_index: int, captions: Sequence[str]) -> list[float]:
        """Points, 0 to 1000, of captions for one view of a photo; 0 if it has no reference."""
        references, corpus = self._references[view_index], self._corpora[view_index]
        return [
            100
            * sum(compute_similarity(weighed, reference) for reference in references)
            / max(1, len(references))
            for weighed in (self._weigh_ngrams(count_ngrams(text), corpus) for text in captions)
        ]

    def _weigh_ngrams(self, counts: Counter[Ngram], corpus: str) -> WeighedCaption:
        frequency, num_documents = self._document_frequencies[corpus], self._num_documents[corpus]
        vectors: list[dict[Ngram, float]] = [{} for _ in range(MAX_NGRAM)]
        for ngram, count in counts.items():
            weight = log(num_documents) - log(max(1, frequency[ngram]))
            vectors[len(ngram) - 1][ngram] = count * weight
        norms = [sqrt(sum(weight * weight for weight in vector.values())) for vector in vectors]
        length = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return WeighedCaption(vectors, norms, length)


def count_ngrams(caption: str) -> Counter[Ngram]:
    """How often each n-gram of up to four words is in a caption, whose end is a word."""
    words = [*tokenize(caption), END]
    return Counter(
        tuple(words[i : i + n]) for n in range(1, MAX_NGRAM + 1) for i in range(len(words) - n + 1)
    )


def compute_similarity(candidate: WeighedCaption, reference: WeighedCaption) -> float:
    """CIDEr-D of a candidate and one reference, 0 to 10."""
    total = 0.0
    for n in range(MAX_NGRAM):
        if not candidate.norms[n] or not reference.norms[n]:
            continue
        weights = reference.vectors[n]
        product = sum(
            min(weight, weights[ngram]) * weights[ngram]
            for ngram, weight in candidate.vectors[n].items()
            if ngram in weights
        )
        total += product / (candidate.norms[n] * reference.norms[n])
    difference = candidate.length - reference.length
    return 10 * total / MAX_NGRAM * exp(-difference * difference / (2 * LENGTH_SIGMA**2))


def compute_self_critical_loss(
    network: Network,
    image_features: Tensor,
    view_indices: Tensor,
    reward: CiderReward,
    samples: int,
) -> Tensor:
    """-(reward - baseline) · log-probability: the mean over a photo's tokens, then over photos.

    Args:
        image_features: (B, S, image_width), with gradients where the encoder is trained.
        view_indices: (B,) places of the photos' references in the reward.
        samples: captions sampled for each photo, at least 2.
    """
    network.decoder.eval()  # captions are sampled and scored without dropout
    options = choose_options(
        network.config,
        sample=True,
        num_captions=samples,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        no_repeat_ngram=0,
        min_length=0,
        seed=int(torch.randint(2**31, ())),  # so that a resumed run draws the same
    )
    sampled = write_captions(network, image_features.detach(), options)
    points = torch.tensor(
        [
            reward(int(view_index), [caption.text for caption in captions])
            for view_index, captions in zip(view_indices, sampled, strict=True)
        ]
    )
    baseline = (points.sum(1, keepdim=True) - points) / (samples - 1)
    advantage = ((points - baseline) / 100).to(image_features.device)  # (B, samples)
    start = network.tokenizer.start
    tokens, labels = collate_captions(
        [[[start, *caption.tokens] for caption in captions] for captions in sampled]
    )
    tokens, labels = tokens.to(advantage.device), labels.to(advantage.device)
    logits = network(tokens, image_features=image_features).float()
    mask = labels != IGNORED
    log_probabilities = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    weighted = advantage[..., None] * log_probabilities * mask  # (B, samples, T)
    return -(weighted.sum((1, 2)) / mask.sum((1, 2))).mean()
