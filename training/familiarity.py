"""Teach a captioner which photos are like those it learned from:
`python -m training.familiarity --data DIR --checkpoint FOLDER`.

To be run again whenever the weights in the folder are replaced: the encoder's features change.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from model import Captioner, load
from model.captioner import default_device
from model.error_reporting import report_errors
from model.errors import DataError
from model.explain.familiarity import FAMILIARITY, Familiarity, pooled
from model.output_path import check_output_file
from training.data import DATA_HELP, FORMAT_HELP, FORMATS, CaptionedImage, read_split

SHARE = 0.01  # of the dev photos that are to be called unlike the training photos


def pooled_features(
    captioner: Captioner, items: list[CaptionedImage], name: str, batch_size: int = 16
) -> Tensor:
    """The pooled features (photos, width) of photos on disk; `name` is shown while it goes on."""
    starts = tqdm(range(0, len(items), batch_size), f"encoding {name} photos")
    batches = ([item.path for item in items[start : start + batch_size]] for start in starts)
    return torch.cat([pooled(captioner.encode(batch)).cpu() for batch in batches])


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.familiarity",
        description="Let a checkpoint tell which photos are unlike those that it learned from.",
    )
    add = parser.add_argument
    add("--data", required=True, help=DATA_HELP)
    add("--format", choices=FORMATS, help=FORMAT_HELP)
    add("--checkpoint", required=True, metavar="FOLDER", help=f"{FAMILIARITY} is written here")
    settings = parser.parse_args(arguments)
    folder = Path(settings.checkpoint)
    captioner = load(folder).to(default_device())
    check_output_file(folder / FAMILIARITY)
    splits = {name: read_split(settings.data, name, settings.format) for name in ("train", "dev")}
    if not captioner.encoder.num_prefix_tokens:  # SigLIP
        raise DataError(f"{folder}: its image encoder has no class token to tell photos by")
    features = {n: pooled_features(captioner, items, n) for n, items in splits.items()}
    familiarity = Familiarity.fit(**features, share=SHARE)
    familiarity.save(folder)
    distances = familiarity.distances(features["dev"])
    above = int((distances > familiarity.threshold).sum())
    print(
        f"{above} of {len(distances)} dev photos lie farther than {familiarity.threshold:.1f} from "
        f"the mean of {len(features['train'])} train photos (median {distances.median():.1f}, "
        f"farthest {distances.max():.1f}); {folder / FAMILIARITY} is written"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
