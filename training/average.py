"""Average captioners of one family: `python -m training.average A B --output DIR`.

The weights of runs that went on from one checkpoint lie close enough to be averaged, and the mean
is often better than each (Wortsman et al. 2022, "Model soups"). Captioning costs no more for it.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from model import Captioner, load
from model.error_reporting import report_errors
from model.errors import CheckpointError, OptionError
from model.output_path import check_output_folder


def average(captioners: list[Captioner], shares: list[float]) -> Captioner:
    """The first captioner with the mean of all weights, each captioner counted by its share.

    Raises CheckpointError when they are not of one make: other sizes or another tokenizer.
    """
    first = captioners[0]
    for other in captioners[1:]:
        same = replace(other.config, decoding=first.config.decoding, dropout=first.config.dropout)
        words = first.tokenizer.tokenizer.to_str()
        if same != first.config or other.tokenizer.tokenizer.to_str() != words:
            raise CheckpointError(
                f"{other.name}: not of the same make as {first.name}; only runs that went on from "
                "one checkpoint can be averaged"
            )
    states = [captioner.state_dict() for captioner in captioners]
    total = sum(shares)
    mean = {
        name: sum(share / total * state[name] for share, state in zip(shares, states, strict=True))
        for name in states[0]
    }
    first.load_state_dict(mean)
    first.familiarity = None  # of its encoder before
    return first


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.average",
        description="Average the weights of captioners that went on from one checkpoint.",
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        metavar="N",
        help="how much each counts; evenly if not given",
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder of the new captioner"
    )
    settings = parser.parse_args(arguments)
    shares = settings.shares or [1.0] * len(settings.checkpoints)
    if len(shares) != len(settings.checkpoints):
        raise OptionError(f"{len(shares)} shares for {len(settings.checkpoints)} checkpoints")
    if min(shares) < 0 or sum(shares) <= 0:
        raise OptionError("shares must be 0 or more, and not all 0")
    check_output_folder(settings.output)
    with torch.no_grad():
        average([load(name) for name in settings.checkpoints], shares).save_pretrained(
            Path(settings.output)
        )
    print(f"the mean of {len(shares)} captioners is in {settings.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
