"""Measure the maps: `python -m training.evaluate_maps --data DIR`.

Deletion: hide the patches a map points at, the highest first, and see how far the word's
log-probability falls; insertion: show these patches alone, and see how far it is from what the
whole photo gives. A good map loses much by deletion and little by insertion (Petsiuk et al. 2018,
"RISE"). A random map and one that only knows that photographers aim at the middle stand beside.
Hidden patches are left out of the encoder's input, see `ImageEncoder.forward`.

With `--boxes`, a COCO file with boxes of the same photos: is the map's peak in a box of what the
word names (the pointing game, Zhang et al. 2018), and how much of its mass is.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model import Captioner, Explanation, load
from model.captioner import SHIPPED, default_device
from model.error_reporting import report_errors
from model.errors import DataError
from model.explain.explanation import AT_ONCE, token_log_probabilities
from model.explain.methods import METHODS
from model.images import find_images, load_image
from model.output_path import check_output_file
from training.data import DATA_HELP, FORMAT_HELP, FORMATS, SPLITS, read_split
from training.evaluation.boxes import Boxes

SHARES = (0.125, 0.25, 0.5, 0.75)  # of the patches, hidden (deletion) or shown (insertion)
NEEDED = np.log(2)  # nats: words that the photo makes less than twice as likely are not asked
RESAMPLES = 2000


@dataclass(frozen=True)
class Candidate:
    """A way to make a map that is measured against the others."""

    name: str
    draw: Callable[[Explanation, int], np.ndarray]


def candidates(captioner: Captioner, seed: int) -> list[Candidate]:
    """Every method over all layers, those that can over each layer, and the two baselines."""
    rows, cols = captioner.encoder.grid_size
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols]
    from_centre = np.hypot((y + 0.5) / rows - 0.5, (x + 0.5) / cols - 0.5)
    found = [
        Candidate("random", lambda explanation, word: generator.random((rows, cols))),
        Candidate("centre", lambda explanation, word: 1 - from_centre),
    ]

    def of(method: str, **choices) -> Callable[[Explanation, int], np.ndarray]:
        return lambda explanation, word: explanation.heatmap(word, method, **choices)

    for method in METHODS:
        found.append(Candidate(method, of(method)))
        if method != "occlusion":
            found += [
                Candidate(f"{method}, layer {layer}", of(method, layer=layer))
                for layer in range(captioner.config.num_layers)
            ]
    found.append(Candidate("attention, no sinks", of("attention", mask_sinks=True)))
    return found


@torch.inference_mode()
def curves(
    captioner: Captioner, image, explanation: Explanation, word: int, maps: Sequence[np.ndarray]
) -> np.ndarray:
    """(maps, 2): nats that deletion costs and that insertion is short of, means over `SHARES`."""
    chosen = explanation.words[word]
    count = maps[0].size
    # highest first; ties in the order of the grid would favour the top of the photo
    ties = np.random.default_rng(0).random(count)
    orders = [np.lexsort((ties, -m.ravel())) for m in maps]
    tokens, _ = captioner.tokenizer.encode(explanation.text)
    tokens = [*tokens, captioner.tokenizer.end]
    pixels = captioner.pixel_values([image])

    def of_word(features) -> np.ndarray:
        rated = token_log_probabilities(captioner, features, tokens)
        return rated[:, chosen.start : chosen.stop].sum(1).cpu().numpy()

    whole = float(of_word(captioner.encoder(pixels))[0])
    falls = np.zeros((len(maps), 2))
    for share in SHARES:
        top = round(share * count)
        for kind, part in enumerate((slice(top, None), slice(0, top))):
            seen = torch.from_numpy(np.stack([np.sort(order[part]) for order in orders]))
            left = [
                of_word(captioner.encoder(pixels.expand(len(some), -1, -1, -1), some))
                for some in seen.to(pixels.device).split(AT_ONCE)
            ]
            falls[:, kind] += (whole - np.concatenate(left)) / len(SHARES)
    return falls


def interval(values: np.ndarray, groups: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Mean of `values` and its 95 % interval by bootstrap over the photos (`groups`)."""
    _, places = np.unique(groups, return_inverse=True)
    sums = np.bincount(places, weights=values)
    counts = np.bincount(places)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def words_to_ask(
    explanation: Explanation, boxes: Boxes | None, image: str, most: int, generator
) -> list[int]:
    """Up to `most` words that the photo made likelier, drawn at random; with boxes, those that
    name something with a box."""
    words = range(len(explanation.words))
    if boxes is not None:
        return [i for i in words if boxes.of(image, explanation.words[i].text) is not None]
    needed = [i for i in words if explanation.gains[i] >= NEEDED]
    return sorted(generator.permutation(needed)[:most].tolist()) if needed else []


def photos_of(settings: argparse.Namespace, boxes: Boxes | None) -> list[Path]:
    """The photos to be asked about, in a random order that the seed decides."""
    if boxes is not None:
        paths = [path for path in find_images(settings.data) if path.name in boxes]
        if not paths:
            raise DataError(f"{settings.data}: none of its photos is in {settings.boxes}")
    else:
        items = read_split(settings.data, settings.split, settings.format)
        paths = [item.path for item in items]
    return np.random.default_rng(settings.seed).permutation(paths)[: settings.limit].tolist()


def measure(
    captioner: Captioner, paths: list[Path], boxes: Boxes | None, most: int, seed: int
) -> Iterator[tuple[int, str, np.ndarray]]:
    """(photo, word, scores (candidates, 2)) for each word that is asked about.

    The scores are the nats of `curves`; with boxes, whether the peak is inside (0 or 1) and the
    share of the map that is.
    """
    contenders = candidates(captioner, seed)
    generator = np.random.default_rng(seed)
    for number, path in enumerate(tqdm(paths, "photos")):
        photo = load_image(path)
        caption = captioner.caption(photo)
        if not caption.words:
            continue
        explanation = captioner.explain(photo, caption, methods=tuple(METHODS))
        for word in words_to_ask(explanation, boxes, path.name, most, generator):
            maps = [contender.draw(explanation, word) for contender in contenders]
            text = explanation.words[word].text
            if boxes is None:
                scores = curves(captioner, photo, explanation, word, maps)
            else:
                inside = boxes.of(path.name, text, captioner.encoder.grid_size)
                scores = np.array([inside.score(m) for m in maps])
            yield number, text, scores


def table(
    names: list[str], scores: np.ndarray, groups: np.ndarray, columns: tuple[str, str], seed: int
) -> list[dict]:
    """A row a candidate: both means, and the first one's margins over random and over the plain
    attention, with their 95 % intervals."""
    rows = []
    for i, name in enumerate(names):
        row = {"map": name}
        for kind, column in enumerate(columns):
            row[column] = interval(scores[:, i, kind], groups, seed)[0]
        for other in ("random", "attention"):
            margin = scores[:, i, 0] - scores[:, names.index(other), 0]
            row[f"over {other}"] = interval(margin, groups, seed)
        rows.append(row)
    return rows


def report(rows: list[dict], columns: tuple[str, str]) -> None:
    print(f"| map | {columns[0]} | {columns[1]} | {columns[0]} over random | over attention |")
    print("|---|---|---|---|---|")
    for row in rows:
        margins = [
            "{:+.2f} ({:+.2f} to {:+.2f})".format(*row[k])
            for k in ("over random", "over attention")
        ]
        values = [f"{row[column]:.2f}" for column in columns]
        print(f"| {' | '.join([row['map'], *values, *margins])} |")


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate_maps",
        description="Measure whether the maps show what a word came from.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, help=f"{DATA_HELP}; with --boxes any folder of photos")
    add("--format", choices=FORMATS, help=FORMAT_HELP)
    add("--split", default="dev", choices=SPLITS)
    add("--boxes", metavar="FILE.json", help="boxes in COCO's format: play the pointing game")
    add("--checkpoint", default=str(SHIPPED), help="folder or hub id")
    add("--limit", type=int, default=100, help="photos")
    add("--words", type=int, default=2, help="words a photo, drawn from those that need it")
    add("--seed", type=int, default=0, help="for photos, words, random maps and the bootstrap")
    add("--output", metavar="FILE.json", help="write the table here")
    settings = parser.parse_args(arguments)
    if settings.output:
        check_output_file(settings.output)
    boxes = Boxes.read(settings.boxes) if settings.boxes else None
    captioner = load(settings.checkpoint).to(default_device())
    paths = photos_of(settings, boxes)
    asked = list(measure(captioner, paths, boxes, settings.words, settings.seed))
    if not asked:
        raise DataError("no word to ask about: none of the captions names what has a box")
    groups = np.array([number for number, _, _ in asked])
    scores = np.stack([scores for _, _, scores in asked])
    names = [contender.name for contender in candidates(captioner, settings.seed)]
    columns = ("deletion", "insertion") if boxes is None else ("pointing", "mass")
    rows = table(names, scores, groups, columns, settings.seed)
    print(f"{len(asked)} words of {len(set(groups))} photos, {captioner.name}")
    report(rows, columns)
    if settings.output:
        result = {**vars(settings), "words_asked": len(asked), "rows": rows}
        Path(settings.output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
