"""The names of what a run leaves in its folder, beside the Trainer's `checkpoint-N/`."""

import os
from pathlib import Path

BEST = "best"  # the captioner with the highest dev CIDEr, the lowest dev loss where all are equal
SETTINGS = "settings.json"  # what the command was told
DATA = "data.json"  # how many photos and captions of each split, with a digest
LOG = "log.jsonl"  # the Trainer's history, an entry a line
CURVE = "curve.png"  # training loss and the score that decides, drawn


def write_whole(path: Path, text: str) -> None:
    """Write a file that is whole or as it was, also if the run or the machine dies meanwhile."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else the name may reach the disk before the text
    unfinished.rename(path)
