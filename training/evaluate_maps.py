"""Score the maps: `python -m training.evaluate_maps --data DIR`.

`training/evaluation/map_scores.py` says what is measured.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from model import load
from model.captioner import choose_device
from model.error_reporting import report_errors
from model.errors import DataError
from model.images import find_images
from model.output_path import check_output_file
from training.data import DATA_HELP, read_split
from training.evaluation.boxes import Boxes
from training.evaluation.map_scores import (
    BOX_SCORES,
    CURVE_SCORES,
    list_candidates,
    score_maps,
    summarize_scores,
)
from training.options import (
    COUNT,
    SEED,
    HelpFormatter,
    add_checkpoint_option,
    add_data_options,
    add_split_option,
)


def choose_photos(settings: argparse.Namespace, boxes: Boxes | None) -> list[Path]:
    """Up to `--limit` photos, in a random order that the seed decides."""
    if boxes is not None:
        paths = [path for path in find_images(settings.data) if path.name in boxes]
        if not paths:
            raise DataError(f"{settings.data}: none of its photos is in {settings.boxes}")
    else:
        items = read_split(settings.data, settings.split, settings.format)
        paths = [item.path for item in items]
    return np.random.default_rng(settings.seed).permutation(paths)[: settings.limit].tolist()


def print_table(rows: list[dict], score_names: tuple[str, str]) -> None:
    """Print the rows as a Markdown table."""
    first, second = score_names
    print(f"| map | {first} | {second} | {first} over random | over attention |")
    print("|---|---|---|---|---|")
    for row in rows:
        margins = [
            "{:+.2f} ({:+.2f} to {:+.2f})".format(*row[key])
            for key in ("over random", "over attention")
        ]
        values = [f"{row[name]:.2f}" for name in score_names]
        print(f"| {' | '.join([row['map'], *values, *margins])} |")


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate_maps",
        description="Measure whether the maps show what a word came from.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add_data_options(parser, data_help=f"{DATA_HELP}; with --boxes any folder of photos")
    add_split_option(parser)
    add("--boxes", metavar="FILE.json", help="boxes in COCO format: play the pointing game")
    add_checkpoint_option(parser)
    add("--limit", type=int, default=100, help="number of photos")
    add("--words", type=int, default=2, help="words per photo, drawn from those that need it")
    add("--seed", type=int, default=0, help="seed of photos, words, random maps and bootstrap")
    add("--output", metavar="FILE.json", help="write the table to this file")
    settings = parser.parse_args(arguments)
    COUNT.check("--limit", settings.limit)
    COUNT.check("--words", settings.words)
    SEED.check("--seed", settings.seed)
    if settings.output:
        check_output_file(settings.output)
    boxes = Boxes.load(settings.boxes) if settings.boxes else None
    captioner = load(settings.checkpoint).to(choose_device())
    paths = choose_photos(settings, boxes)
    word_scores = list(score_maps(captioner, paths, boxes, settings.words, settings.seed))
    if not word_scores:
        raise DataError("no word to score: none of the captions names what has a box")
    names = [candidate.name for candidate in list_candidates(captioner.network, settings.seed)]
    score_names = CURVE_SCORES if boxes is None else BOX_SCORES
    rows = summarize_scores(names, word_scores, score_names, settings.seed)
    num_photos = len({word_score.photo for word_score in word_scores})
    print(f"{len(word_scores)} words of {num_photos} photos, {captioner.name}")
    print_table(rows, score_names)
    if settings.output:
        result = {**vars(settings), "words_asked": len(word_scores), "rows": rows}
        Path(settings.output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
