"""The names of what a run leaves in its folder, beside the Trainer's `checkpoint-N/`."""

BEST = "best"  # the captioner with the highest dev CIDEr
SETTINGS = "settings.json"  # what the command was told
DATA = "data.json"  # how many photos and captions of each split, with a digest
LOG = "log.jsonl"  # the Trainer's history, an entry a line
CURVE = "curve.png"  # loss and dev CIDEr, drawn
