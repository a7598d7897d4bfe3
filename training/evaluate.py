"""Score a captioner: `python -m training.evaluate --data DIR --split dev`.

Beside the scores stands what the same decoder scores when it may not look: every image's features
are replaced by the mean over the split, so that all it has left is its knowledge of captions. The
difference is what cross-attention is worth.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model import Caption, Captioner, load
from model.captioner import SHIPPED, default_device
from model.error_reporting import report_errors
from model.errors import DataError
from model.output_path import check_output_file
from training.data import DATA_HELP, FORMAT_HELP, FORMATS, SPLITS, CaptionedImage, read_split
from training.evaluation.caption_statistics import habits
from training.evaluation.metrics import drop_wordless, score_captions


def encode_batches(
    captioner: Captioner,
    items: list[CaptionedImage],
    features: np.ndarray | None = None,
    batch_size: int = 16,
) -> Iterator[tuple[list[CaptionedImage], Tensor]]:
    """Some of the items at a time, with their image features (B, S, width).

    features: (images, S, width) where they are known already; else the photos are encoded.
    """
    for start in tqdm(range(0, len(items), batch_size), "captioning", leave=False):
        batch = items[start : start + batch_size]
        if features is None:
            yield batch, captioner.encode([item.path for item in batch])
        else:
            known = torch.from_numpy(features[start : start + batch_size])
            yield batch, known.float().to(captioner.device)


def caption_split(
    captioner: Captioner,
    items: list[CaptionedImage],
    features: np.ndarray | None = None,
    batch_size: int = 16,
    **options,
) -> tuple[dict[str, Caption], Tensor]:
    """A caption for each image, by its name, and the mean of their features (S, width).

    features: as for `encode_batches`.
    """
    written: dict[str, Caption] = {}
    total = 0
    for batch, encoded in encode_batches(captioner, items, features, batch_size):
        total = total + encoded.double().sum(dim=0)
        captions = captioner.captions(encoded, **options)
        written |= {i.name: c[0] for i, c in zip(batch, captions, strict=True)}
    return written, (total / len(items)).to(encoded.dtype)


def evaluate(captioner: Captioner, items: list[CaptionedImage], **options) -> dict:
    """Scores in points by metric name, how each was computed, the captions, and `no_image`: the
    scores without the image. `unscored` photos have no reference with words.

    Raises ValueError when no photo has one.
    """
    references = {item.name: drop_wordless(item.captions) for item in items}
    if not any(references.values()):
        raise DataError("nothing to score: none of the photos has a caption with words in it")
    began = time.monotonic()
    written, mean_features = caption_split(captioner, items, **options)
    captions = {name: caption.text for name, caption in written.items()}
    seconds = time.monotonic() - began
    blind = captioner.caption(mean_features, **options).text  # the same for every image
    scores = score_captions(captions, references)
    scored = {name: text for name, text in captions.items() if references[name]}
    return {
        **scores.points,
        "num_images": scores.num_images,
        "unscored": list(scores.unscored),
        "no_image": {
            **score_captions(dict.fromkeys(captions, blind), references).points,
            "caption": blind,
        },
        **habits(scored, references),
        "made_with": scores.made_with,
        "seconds": round(seconds, 1),
        "captions": captions,
    }


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Score a captioner's captions against those that people wrote.",
    )
    add = parser.add_argument
    add("--data", required=True, help=DATA_HELP)
    add("--format", choices=FORMATS, help=FORMAT_HELP)
    add("--split", default="dev", choices=SPLITS)
    add("--checkpoint", help="folder or hub id; the shipped one if not given")
    add("--output", metavar="FILE.json", help="write scores and captions here")
    add("--num-beams", type=int, help="the checkpoint's own if not given")
    add("--length-penalty", type=float, help="the checkpoint's own if not given")
    add("--limit", type=int, default=0, help="only so many images; 0 for all")
    settings = parser.parse_args(arguments)
    if settings.output:
        check_output_file(settings.output)
    options = {
        name: value
        for name in ("num_beams", "length_penalty")
        if (value := getattr(settings, name)) is not None
    }
    items = read_split(settings.data, settings.split, settings.format)
    items = items[: settings.limit or None]
    captioner = load(settings.checkpoint or SHIPPED).to(default_device())
    result = {
        "checkpoint": captioner.name,
        "data": Path(settings.data).name,
        "split": settings.split,
        "decoding": asdict(captioner.options(**options)),
        **evaluate(captioner, items, **options),
    }
    report(result)
    if settings.output:
        text = json.dumps(result, indent=2, ensure_ascii=False)
        Path(settings.output).write_text(text + "\n", encoding="utf-8")
    return 0


def report(result: dict) -> None:
    """Print the scores as a table."""
    print(f"{result['split']} split, {result['num_images']} images, {result['checkpoint']}")
    if unscored := result["unscored"]:
        print(f"left out, as no reference has words in it: {', '.join(unscored)}")
    print(f"{'':10}{'score':>8}{'no image':>10}")
    for name in result["made_with"]:
        print(f"{name:10}{result[name]:8.1f}{result['no_image'][name]:10.1f}")
    people = result["people"]
    print(
        f"{result['distinct_captions']} distinct captions from {result['distinct_words']} words, "
        f"{result['seconds']:.0f} s"
    )
    print(f"{result['repeating']} say two words in a row twice (people: {people['repeating']})")
    print(f"{result['breaking_off']} break off (people: {people['breaking_off']})")
    for name in ("colours", "numbers"):
        right, total = result[name]
        print(f"{name}: {right} of {total} are in a reference too")


if __name__ == "__main__":
    sys.exit(main())
