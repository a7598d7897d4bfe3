"""Caption metrics: BLEU, ROUGE-L, CIDEr and, where Java runs, METEOR.

The metrics themselves are those of the `pycocoevalcap` package, so the numbers can be compared
with published ones. Every metric counts the words of `training/ptb_tokenizer.py`, on machines
with Java too: a score must not depend on what happens to be installed.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from training.ptb_tokenizer import tokenize

TOKENIZER = "training/ptb_tokenizer.py (Stanford PTBTokenizer rules in Python)"
IMPLEMENTATION = f"pycocoevalcap {version('pycocoevalcap')}"


@dataclass(frozen=True)
class CaptionScores:
    """What `score_captions` found; `dataclasses.asdict` makes it ready for JSON.

    points: metric name -> points, 100 times the metric (BLEU-4 18.2, CIDEr 45.0).
    made_with: metric name -> {"implementation": ..., "tokenizer": ...}.
    num_images: how many captions were scored.
    """

    points: dict[str, float]
    made_with: dict[str, dict[str, str]]
    num_images: int


def score_captions(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> CaptionScores:
    """Corpus scores of one caption per image.

    candidates: image -> caption. An empty caption is allowed and earns nothing.
    references: image -> its human captions. It may hold more images than `candidates`; all of
        them count for CIDEr's document frequencies, and only for those.

    METEOR is left out when there is no working `java`. Raises ValueError for input that cannot
    be scored, see `cider_scores`.
    """
    words, reference_words = _to_words(candidates, references)
    own_references = {image: reference_words[image] for image in words}

    bleu, _ = Bleu(4).compute_score(own_references, words, verbose=0)
    scores = {f"BLEU-{n}": bleu[n - 1] for n in (1, 2, 3, 4)}
    scores["ROUGE-L"], _ = Rouge().compute_score(own_references, words)
    scores["CIDEr"] = np.mean(_cider(words, reference_words))
    if java_works():
        scores["METEOR"] = _meteor(words, own_references)

    return CaptionScores(
        points={name: 100 * float(score) for name, score in scores.items()},
        made_with={
            name: {"implementation": IMPLEMENTATION, "tokenizer": TOKENIZER} for name in scores
        },
        num_images=len(words),
    )


def cider_scores(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """CIDEr points of each image, in the order of `candidates`: (images,), 0 to 1000.

    Takes what `score_captions` takes; the mean is its CIDEr. A word weighs log(images in
    `references` / images whose captions have it), so in a corpus of one image all scores are 0.

    Raises ValueError when there is nothing to score, or an image has no usable reference.
    """
    return 100 * _cider(*_to_words(candidates, references))


def java_works() -> bool:
    """Whether METEOR can run. macOS has a `java` that only says that Java is not installed."""
    return (
        shutil.which("java") is not None
        and subprocess.run(["java", "-version"], capture_output=True).returncode == 0
    )


def _to_words(candidates, references):
    """Both in the form pycocoevalcap takes: image -> list of captions, words joined by spaces."""
    if not candidates:
        raise ValueError("no captions to score: pass at least one image with its caption")
    missing = [image for image in candidates if image not in references]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(candidates)} captions have no references ({missing[0]!r}, "
            "...): use the same image names in both, and the references of the same split"
        )
    words = {image: [" ".join(tokenize(caption))] for image, caption in candidates.items()}
    reference_words = {}
    for image, captions in references.items():
        if isinstance(captions, str):
            raise ValueError(f"references of {image!r} are one string: pass a list of captions")
        reference_words[image] = [" ".join(tokenize(caption)) for caption in captions]
        if not any(reference_words[image]):
            raise ValueError(f"{image!r} has no reference with words in it: add one or drop it")
    return words, reference_words


def _cider(words, reference_words) -> np.ndarray:
    # pycocoevalcap takes document frequencies from the images it scores: images without a
    # candidate get an empty one, which changes no frequency, and their scores are dropped.
    everywhere = {image: words.get(image, [""]) for image in reference_words}
    _, scores = Cider().compute_score(reference_words, everywhere)
    score_of = dict(zip(reference_words, scores, strict=True))
    return np.array([score_of[image] for image in words])


def _meteor(words, references) -> float:
    scorer = Meteor()  # starts a Java process, which ends with the object
    score, _ = scorer.compute_score(references, words)
    scorer.meteor_p.stdout.close()
    scorer.meteor_p.stderr.close()
    return score
