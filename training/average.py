"""Average the weights of captioners: `python -m training.average A B --output DIR`.

Runs that continued from one checkpoint have weights close enough to be averaged, and the mean is
often better than each (Wortsman et al. 2022, "Model soups"). Captioning costs no more for it.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from model import Captioner, load
from model.error_reporting import report_errors
from model.errors import CheckpointError, OptionError
from model.output_path import check_output_folder


def check_compatible(captioners: Sequence[Captioner]) -> None:
    """Raise CheckpointError for captioners of other sizes or with another vocabulary."""
    first = captioners[0]
    config, tokenizer = first.network.config, first.network.tokenizer.tokenizer.to_str()
    for other in captioners[1:]:
        other_config = replace(
            other.network.config, decoding=config.decoding, dropout=config.dropout
        )
        values, other_values = asdict(config), asdict(other_config)
        differing = [name for name in values if values[name] != other_values.get(name)]
        if not differing and other.network.tokenizer.tokenizer.to_str() != tokenizer:
            differing = ["vocabulary"]
        if differing:
            raise CheckpointError(
                f"{other.name}: not of the same make as {first.name}, they differ in "
                f"{', '.join(differing)}; only runs that continued from one checkpoint can be "
                "averaged"
            )


@torch.no_grad()
def average_captioners(captioners: Sequence[Captioner], shares: Sequence[float]) -> Captioner:
    """A captioner with the mean of the weights, each captioner counted by its share.

    The network of the first one is changed and returned.

    Raises CheckpointError when they do not fit each other.
    """
    check_compatible(captioners)
    states = [captioner.network.state_dict() for captioner in captioners]
    total = sum(shares)
    mean = {
        name: sum(share / total * state[name] for share, state in zip(shares, states, strict=True))
        for name in states[0]
    }
    first = captioners[0]
    first.network.load_state_dict(mean)
    return Captioner(first.network, name=first.name, family=first.family)


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.average",
        description="Average the weights of captioners that continued from one checkpoint.",
    )
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="captioner, a folder or hub id"
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        metavar="N",
        help="weight of each captioner in the mean (default: equal)",
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder to write the captioner to"
    )
    settings = parser.parse_args(arguments)
    shares = settings.shares or [1.0] * len(settings.checkpoints)
    if len(shares) != len(settings.checkpoints):
        raise OptionError(f"{len(shares)} shares for {len(settings.checkpoints)} checkpoints")
    if not all(map(math.isfinite, shares)) or min(shares) < 0 or sum(shares) <= 0:
        raise OptionError("shares must be finite, 0 or more, and not all 0")
    check_output_folder(settings.output)
    captioners = [load(name) for name in settings.checkpoints]
    average_captioners(captioners, shares).save_pretrained(Path(settings.output))
    print(f"the mean of {len(shares)} captioners is in {settings.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
