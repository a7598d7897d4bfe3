"""Scores of the maps: do they show what a word came from?

Deletion: hide the patches a map points at, the highest first, and see how far the word's
log-probability falls. Insertion: show these patches alone, and see how far it is below that of the
whole photo. A good map has a large fall by deletion and a small one by insertion (Petsiuk et al.
2018, "RISE"). Baselines are a random map and one that is brightest in the centre, where
photographers aim. Hidden patches are left out of the encoder's input, see `ImageEncoder.forward`.

With boxes: whether the map's peak is in a box of what the word names (the pointing game, Zhang et
al. 2018, "Top-Down Neural Attention by Excitation Backprop"), and how much of its mass is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model import Captioner, Explanation
from model.explain.methods import METHODS
from model.explain.replay import score_tokens, score_visible_patches
from model.images import load_image
from model.network.network import EncodedPhoto, Network
from training.evaluation.boxes import Boxes

SHARES = (0.125, 0.25, 0.5, 0.75)  # of the patches, hidden (deletion) or shown (insertion)
MIN_GAIN = np.log(2)  # nats; words that the photo makes less than twice as likely are not scored
RESAMPLES = 2000  # of the bootstrap
CURVE_SCORES = ("deletion", "insertion")
BOX_SCORES = ("pointing", "mass")

DrawMap = Callable[[Explanation, int], np.ndarray]


@dataclass(frozen=True)
class MapCandidate:
    """A way to make a map that is compared with others: (explanation, word) -> (rows, cols)."""

    name: str
    draw: DrawMap


@dataclass(frozen=True)
class WordScore:
    """The scores of all candidates for one word.

    Attributes:
        photo: the photo's number.
        word: its text.
        scores: (candidates, 2): nats as in `score_curves`, or with boxes whether the peak is
            inside (0 or 1) and the share of the map that is.
    """

    photo: int
    word: str
    scores: np.ndarray


def list_candidates(network: Network, seed: int) -> list[MapCandidate]:
    """The two baselines, and every method over all layers and, where it has layers, over each."""
    rows, cols = network.encoder.grid_size
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols]
    from_centre = np.hypot((y + 0.5) / rows - 0.5, (x + 0.5) / cols - 0.5)

    def draw_with(method: str, **selection) -> DrawMap:
        return lambda explanation, word: explanation.heatmap(word, method, **selection)

    candidates = [
        MapCandidate("random", lambda explanation, word: generator.random((rows, cols))),
        MapCandidate("centre", lambda explanation, word: 1 - from_centre),
    ]
    for name, method in METHODS.items():
        candidates.append(MapCandidate(name, draw_with(name)))
        if method.has_layers:
            candidates += [
                MapCandidate(f"{name}, layer {layer}", draw_with(name, layer=layer))
                for layer in range(network.config.num_layers)
            ]
    candidates.append(MapCandidate("attention, no sinks", draw_with("attention", mask_sinks=True)))
    return candidates


def score_curves(
    network: Network,
    photo: EncodedPhoto,
    explanation: Explanation,
    word: int,
    maps: Sequence[np.ndarray],
) -> np.ndarray:
    """(maps, 2): nats that deletion and insertion cost the word, means over `SHARES`."""
    span = explanation.words[word]
    tokens = list(explanation.caption.tokens)
    num_patches = maps[0].size
    # highest first; ties in the order of the grid would favour the top of the photo
    tie_breakers = np.random.default_rng(0).random(num_patches)
    orders = [np.lexsort((tie_breakers, -heatmap.ravel())) for heatmap in maps]

    def sum_word(log_probabilities: torch.Tensor) -> np.ndarray:
        return log_probabilities[:, span.start : span.stop].sum(1).cpu().numpy()

    whole = float(sum_word(score_tokens(network, photo.image_features[None], tokens))[0])
    falls = np.zeros((len(maps), 2))
    for share in SHARES:
        count = round(share * num_patches)
        for kind, visible_part in enumerate((slice(count, None), slice(0, count))):
            visible = np.stack([np.sort(order[visible_part]) for order in orders])
            scores = score_visible_patches(network, photo, torch.from_numpy(visible), tokens)
            falls[:, kind] += (whole - sum_word(scores)) / len(SHARES)
    return falls


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[float, float, float]:
    """Mean of `values` and its 95% interval by bootstrap over the photos (`groups`)."""
    _, group_numbers = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_numbers, weights=values)
    counts = np.bincount(group_numbers)
    resampled = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[resampled].sum(axis=1) / counts[resampled].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def choose_words(
    explanation: Explanation,
    boxes: Boxes | None,
    image: str,
    max_words: int,
    generator: np.random.Generator,
) -> list[int]:
    """Up to `max_words` words that the photo made likelier, drawn at random; with boxes, all that
    name something with a box."""
    words = range(len(explanation.words))
    if boxes is not None:
        return [i for i in words if boxes.locate(image, explanation.words[i].text) is not None]
    gaining = [i for i in words if explanation.gains[i] >= MIN_GAIN]
    return sorted(generator.permutation(gaining)[:max_words].tolist()) if gaining else []


def score_maps(
    captioner: Captioner, paths: Sequence[Path], boxes: Boxes | None, max_words: int, seed: int
) -> Iterator[WordScore]:
    """Score the maps of words in the captions of photos."""
    network = captioner.network
    candidates = list_candidates(network, seed)
    generator = np.random.default_rng(seed)
    for number, path in enumerate(tqdm(paths, "photos")):
        photo = captioner.encode([load_image(path)])[0]
        caption = captioner.caption(photo)
        if not caption.words:
            continue
        explanation = captioner.explain(photo, caption, methods=tuple(METHODS))
        for word in choose_words(explanation, boxes, path.name, max_words, generator):
            maps = [candidate.draw(explanation, word) for candidate in candidates]
            text = explanation.words[word].text
            if boxes is None:
                scores = score_curves(network, photo, explanation, word, maps)
            else:
                coverage = boxes.locate(path.name, text, network.encoder.grid_size)
                scores = np.array([coverage.score(heatmap) for heatmap in maps])
            yield WordScore(number, text, scores)


def summarize_scores(
    names: Sequence[str],
    word_scores: Sequence[WordScore],
    score_names: tuple[str, str],
    seed: int,
) -> list[dict]:
    """A row per candidate: both means, and the first score's margins over the random map and over
    plain attention, with their 95% intervals."""
    scores = np.stack([word_score.scores for word_score in word_scores])
    photos = np.array([word_score.photo for word_score in word_scores])
    rows = []
    for i, name in enumerate(names):
        row = {"map": name}
        for kind, score_name in enumerate(score_names):
            row[score_name] = bootstrap_interval(scores[:, i, kind], photos, seed)[0]
        for baseline in ("random", "attention"):
            margin = scores[:, i, 0] - scores[:, names.index(baseline), 0]
            row[f"over {baseline}"] = bootstrap_interval(margin, photos, seed)
        rows.append(row)
    return rows
