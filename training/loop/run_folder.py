"""What a run writes into its folder, beside the Trainer's `checkpoint-N/`."""

import hashlib
import json
import os
from pathlib import Path

from training.data import CaptionedImage

BEST = "best"  # the captioner with the highest dev CIDEr, or the lowest dev loss where CIDEr is 0
SETTINGS = "settings.json"
DATA = "data.json"  # counts and a digest of the photos and captions of each split
LOG = "log.jsonl"  # the Trainer's history, an entry a line
CURVE = "curve.png"  # training loss and the dev score that decides
AVERAGE = "average.safetensors"  # in each checkpoint: the moving average of the weights


def summarize_data(**splits: list[CaptionedImage]) -> dict[str, dict]:
    """The content of `data.json`: counts, and a digest of names and captions, by split."""
    summary = {}
    for split, items in splits.items():
        captions = json.dumps([(item.name, item.captions) for item in items])
        summary[split] = {
            "photos": len(items),
            "captions": sum(len(item.captions) for item in items),
            "digest": hashlib.sha256(captions.encode()).hexdigest()[:16],
        }
    return summary


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file atomically, see `write_atomically`."""
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is complete or unchanged, even if the machine dies meanwhile."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else the name may reach the disk before the text
    unfinished.rename(path)
