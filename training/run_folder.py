"""The names of what a run leaves in its folder, beside the Trainer's `checkpoint-N/`."""

from pathlib import Path

BEST = "best"  # the captioner with the highest dev CIDEr
SETTINGS = "settings.json"  # what the command was told
DATA = "data.json"  # how many photos and captions of each split, with a digest
LOG = "log.jsonl"  # the Trainer's history, an entry a line
CURVE = "curve.png"  # loss and dev CIDEr, drawn


def write_whole(path: Path, text: str) -> None:
    """Write a file that is whole or as it was, also if the run is killed meanwhile."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)
