"""Caption metrics: BLEU, ROUGE-L, CIDEr and, where Java runs, METEOR.

The metrics themselves are those of the `pycocoevalcap` package, so the numbers can be compared
with published ones. Every metric counts the words of `model/corpora/ptb_tokenizer.py`, on machines
with Java too: a score must not depend on what happens to be installed.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from model.corpora.ptb_tokenizer import tokenize
from model.errors import DataError

TOKENIZER = "model/corpora/ptb_tokenizer.py (Stanford PTBTokenizer rules in Python)"
IMPLEMENTATION = f"pycocoevalcap {version('pycocoevalcap')}"


@dataclass(frozen=True)
class CaptionScores:
    """The scores of `score_captions`; `dataclasses.asdict` makes a record for JSON of it.

    Attributes:
        points: metric name -> points, 100 times the metric (BLEU-4 18.2, CIDEr 45.0).
        made_with: metric name -> {"implementation": ..., "tokenizer": ...}.
        num_images: how many captions were scored.
        unscored: images left out, as none of their references has a word.
    """

    points: dict[str, float]
    made_with: dict[str, dict[str, str]]
    num_images: int
    unscored: tuple[str, ...] = ()


def score_captions(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> CaptionScores:
    """Corpus scores of one caption per image.

    candidates: image -> caption. An empty caption is allowed and earns nothing.
    references: image -> its human captions. It may hold more images than `candidates`; all of
        them count for CIDEr's document frequencies, and only for those. A caption without words
        ("...") does not count, and an image that has no other is left out.

    METEOR is left out when there is no working `java`.

    Raises DataError for input that cannot be scored, see `compute_cider_scores`.
    """
    words, reference_words, unscored = _tokenize_all(candidates, references)
    own_references = {image: reference_words[image] for image in words}

    bleu, _ = Bleu(4).compute_score(own_references, words, verbose=0)
    scores = {f"BLEU-{n}": bleu[n - 1] for n in (1, 2, 3, 4)}
    scores["ROUGE-L"], _ = Rouge().compute_score(own_references, words)
    scores["CIDEr"] = np.mean(_compute_cider(words, reference_words))
    if can_run_java():
        scores["METEOR"] = _compute_meteor(words, own_references)

    return CaptionScores(
        points={name: 100 * float(score) for name, score in scores.items()},
        made_with={
            name: {"implementation": IMPLEMENTATION, "tokenizer": TOKENIZER} for name in scores
        },
        num_images=len(words),
        unscored=tuple(unscored),
    )


def compute_cider_scores(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """CIDEr points of each image, in the order of `candidates`: (images,), 0 to 1000.

    Takes what `score_captions` takes; the mean is its CIDEr. A word weighs log(images in
    `references` / images whose captions have it), so in a corpus of one image all scores are 0.
    The score of an image is nan when none of its references has a word.

    Raises DataError when there is nothing to score: no candidates, candidates without references,
    or no reference with words at all.
    """
    words, reference_words, _ = _tokenize_all(candidates, references)
    scores_by_image = dict(zip(words, 100 * _compute_cider(words, reference_words), strict=True))
    return np.array([scores_by_image.get(image, np.nan) for image in candidates])


def can_cider_rise(references: Mapping[str, Sequence[str]]) -> bool:
    """Whether any captions could earn CIDEr points with these references.

    None can with a single image, nor where every n-gram is in the captions of all images: its
    weight is 0. Otherwise the captions that people wrote earn some.
    """
    with_words = {
        image: texts for image, captions in references.items() if (texts := drop_wordless(captions))
    }
    # a few images first, as thousands take seconds: if these differ, all do
    for subset in (dict(islice(with_words.items(), 10)), with_words):
        for k in range(max(map(len, subset.values()), default=0)):
            captions = {image: texts[k % len(texts)] for image, texts in subset.items()}
            if compute_cider_scores(captions, subset).any():
                return True
    return False


def drop_wordless(captions: Sequence[str]) -> list[str]:
    """The captions in which the metrics count a word; in "..." they count none."""
    return [caption for caption in captions if tokenize(caption)]


def can_run_java() -> bool:
    """Whether METEOR can run. macOS has a `java` that only says that Java is not installed."""
    return (
        shutil.which("java") is not None
        and subprocess.run(["java", "-version"], capture_output=True).returncode == 0
    )


def _tokenize_all(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]], list[str]]:
    """Candidates and references in the form that pycocoevalcap takes, image -> list of captions,
    words joined by spaces; and the images that are left out."""
    if not candidates:
        raise DataError("no captions to score: pass at least one image with its caption")
    missing = [image for image in candidates if image not in references]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(candidates)} captions have no references ({missing[0]!r}, "
            "...): use the same image names in both, and the references of the same split"
        )
    reference_words = {}
    for image, captions in references.items():
        if isinstance(captions, str):
            raise DataError(f"references of {image!r} are one string: pass a list of captions")
        if tokenized := list(filter(None, map(tokenize, captions))):
            reference_words[image] = [" ".join(words) for words in tokenized]
    unscored = [image for image in candidates if image not in reference_words]
    if len(unscored) == len(candidates):
        more = f", nor do {len(unscored) - 1} more" if len(unscored) > 1 else ""
        raise DataError(f"{unscored[0]!r} has no reference with words in it{more}: add references")
    words = {
        image: [" ".join(tokenize(caption))]
        for image, caption in candidates.items()
        if image in reference_words
    }
    return words, reference_words, unscored


def _compute_cider(
    words: dict[str, list[str]], reference_words: dict[str, list[str]]
) -> np.ndarray:
    # pycocoevalcap takes document frequencies from the images it scores: images without a
    # candidate get an empty one, which changes no frequency, and their scores are dropped.
    candidates = {image: words.get(image, [""]) for image in reference_words}
    _, scores = Cider().compute_score(reference_words, candidates)
    scores_by_image = dict(zip(reference_words, scores, strict=True))
    return np.array([scores_by_image[image] for image in words])


def _compute_meteor(words: dict[str, list[str]], references: dict[str, list[str]]) -> float:
    scorer = Meteor()  # starts a Java process, which ends with the object
    score, _ = scorer.compute_score(references, words)
    scorer.meteor_p.stdout.close()
    scorer.meteor_p.stderr.close()
    return score
