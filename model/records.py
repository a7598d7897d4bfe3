"""Captions and maps as data, the same from the command line and the page: JSON lines, CSV, JSON."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from model.attention_maps import image_share, sinks, spread
from model.caption import Caption
from model.explanation import Explanation


def records(image: str, captions: list[Caption] | Exception, checkpoint: str) -> list[dict]:
    """A photo's rows: one for each caption, or the one error."""
    if isinstance(captions, Exception):
        return [{"image": image, "error": str(captions)}]
    return [
        {
            "image": image,
            "caption": caption.text,
            "log_probability": caption.log_probability,
            "words": [{"text": w.text, "probability": w.probability} for w in caption.words],
            "checkpoint": checkpoint,
        }
        for caption in captions
    ]


def jsonl_writer(file: TextIO) -> Callable[[dict], None]:
    """What writes a record as a line of JSON."""

    def write(record: dict) -> None:
        print(json.dumps(record, ensure_ascii=False), file=file)

    return write


def csv_writer(file: TextIO) -> Callable[[dict], None]:
    """What writes a record as a line of CSV, after the heading, which is written at once."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["image", "caption", "log_probability", "error"])

    def write(record: dict) -> None:
        if "error" in record:
            writer.writerow([record["image"], "", "", record["error"]])
        else:
            probability = f"{record['log_probability']:.4f}"
            writer.writerow([record["image"], record["caption"], probability, ""])

    return write


def explanation_record(
    explanation: Explanation, maps: Sequence[np.ndarray], about: Mapping[str, Any]
) -> dict[str, Any]:
    """A sentence with a map for each word, ready for JSON; `about` says how they were made."""
    attention = explanation.attention
    return {
        **about,
        "log_probability": explanation.log_probability,
        "grid_size": attention.grid_size,
        "num_prefix_tokens": attention.num_prefix_tokens,
        "spread": spread(maps),
        "sinks": np.argwhere(sinks(attention)).tolist(),
        "doubts": explanation.doubts(maps),
        "words": [
            {
                "text": word.text,
                "probability": word.probability,
                "image_share": image_share(attention, (word.start, word.stop)),
                "gain": gain,
                "map": heatmap.tolist(),
            }
            for word, heatmap, gain in zip(explanation.words, maps, explanation.gains, strict=True)
        ],
    }
