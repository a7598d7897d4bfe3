"""Let a captioner recognise photos that are unlike its training photos:
`python -m training.familiarity --data DIR [DIR ...] --checkpoint FOLDER`.

Run it again whenever the weights in the folder are replaced: the encoder's features change.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from model import load
from model.captioner import choose_device
from model.error_reporting import report_errors
from model.errors import CheckpointError
from model.explain.familiarity import FAMILIARITY, Familiarity, pool_features
from model.network.network import Network
from model.output_path import check_output_file
from training.data import CaptionedImage, read_split
from training.options import add_data_options

UNFAMILIAR_SHARE = 0.01  # of the dev photos that count as unlike the training photos
BATCH_SIZE = 16  # photos


def compute_pooled_features(network: Network, items: list[CaptionedImage], split: str) -> Tensor:
    """The pooled features (photos, width) of photos; `split` is shown beside the progress."""
    batches = []
    for start in tqdm(range(0, len(items), BATCH_SIZE), f"encoding {split} photos"):
        paths = [item.path for item in items[start : start + BATCH_SIZE]]
        batches.append(pool_features(network.encode(paths)).cpu())
    return torch.cat(batches)


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.familiarity",
        description="Let a captioner recognise photos that are unlike its training photos.",
    )
    add_data_options(parser, several=True)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FOLDER",
        help=f"captioner; {FAMILIARITY} is written to its folder",
    )
    settings = parser.parse_args(arguments)
    folder = Path(settings.checkpoint)
    network = load(folder).to(choose_device()).network
    check_output_file(folder / FAMILIARITY)
    photos = {
        split: [item for data in settings.data for item in read_split(data, split, settings.format)]
        for split in ("train", "dev")
    }
    if not network.encoder.num_prefix_tokens:  # SigLIP
        raise CheckpointError(
            f"{folder}: its image encoder has no class token to compare photos by"
        )
    features = {
        split: compute_pooled_features(network, items, split) for split, items in photos.items()
    }
    familiarity = Familiarity.fit(features["train"], features["dev"], share=UNFAMILIAR_SHARE)
    familiarity.save(folder)
    distances = familiarity.compute_distances(features["dev"])
    num_unfamiliar = int((distances > familiarity.threshold).sum())
    print(
        f"{num_unfamiliar} of {len(distances)} dev photos are farther than "
        f"{familiarity.threshold:.1f} from the mean of {len(features['train'])} train photos "
        f"(median {distances.median():.1f}, maximum {distances.max():.1f}); "
        f"{folder / FAMILIARITY} is written"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
