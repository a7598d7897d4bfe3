"""What `python -m training.train` can be told."""

import argparse

from model.captioner import SHIPPED
from training.data import CACHE, DATA_HELP, FORMAT_HELP, FORMATS
from training.loop.trainable_parameters import TUNE
from training.objectives.distillation import TEACHERS

NEW = {  # of a new captioner
    "image_size": (224, "pixels a side"),
    "width": (256, "of the decoder"),
    "layers": (4, "of the decoder"),
    "heads": (8, "of the decoder"),
    "vocab_size": (4000, "of the tokenizer"),
}
LORA_RANK = 8
NEW_RATE, TUNE_RATE = 1e-3, 3e-4  # of a new decoder, and of one that has learned before


def positive(text: str) -> int:
    """An argument that counts something there must be."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def several(text: str) -> int:
    """An argument that is 0, or counts what must be compared with one another."""
    value = int(text)
    if value < 0 or value == 1:
        raise argparse.ArgumentTypeError(f"must be 0 or at least 2, not {value}")
    return value


def above_zero(text: str) -> float:
    """An argument that is a positive number."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {value}")
    return value


def rate(text: str) -> float:
    """An argument that is a learning rate, or 0 for what does not learn."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or above, not {value}")
    return value


def share(text: str) -> float:
    """An argument from 0 to 1, 1 excluded."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, not {value}")
    return value


def part(text: str) -> float:
    """An argument from 0 to 1, 0 excluded."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, not {value}")
    return value


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Says the defaults, where there are any."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train an image captioner. A run that was interrupted goes on when the same "
        "command is given again.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, help=DATA_HELP)
    add("--format", choices=FORMATS, help=FORMAT_HELP)
    add("--output", required=True, help="run folder; the best captioner comes to OUTPUT/best")

    new = parser.add_argument_group("where it starts")
    start = new.add_mutually_exclusive_group()
    start.add_argument(
        "--checkpoint", help="captioner to go on from (a folder or hub id); the shipped one"
    )
    start.add_argument("--encoder", help="image encoder for a new captioner (a folder or hub id)")
    add = new.add_argument
    for name, (default, what) in NEW.items():
        add(f"--{name.replace('_', '-')}", type=positive, help=f"with --encoder: {what}; {default}")

    add = parser.add_argument_group("what learns").add_argument
    add("--tune", choices=TUNE, default="decoder", help="the part of the text side that learns")
    add("--lora-rank", type=positive, help=f"of --tune lora; {LORA_RANK}")
    add(
        "--rate",
        type=above_zero,
        help=f"peak learning rate of the text side; {TUNE_RATE}, or {NEW_RATE} with --encoder",
    )
    add("--encoder-rate", type=rate, default=0.0, help="of the image side; 0 keeps it frozen")
    add("--encoder-blocks", type=positive, help="tune so many of its last blocks; all if not given")
    add("--patch-dropout", type=share, default=0.0, help="share left out when the encoder learns")
    add("--dropout", type=share, default=0.1, help="in the decoder")
    add("--weight-decay", type=rate, default=0.05, help="on matrices")

    add = parser.add_argument_group("what it learns from").add_argument
    add("--mirror", action="store_true", help='also mirrored photos, "left" and "right" exchanged')
    add("--crop", type=part, default=1.0, help="smallest share of a photo shown; 1 shows it all")
    add("--label-smoothing", type=share, default=0.1, help="share given to all other tokens")
    add("--teacher", choices=TEACHERS, help="a classifier whose view of the photos is learned too")
    add("--teacher-weight", type=above_zero, default=1.0, help="of the teacher's loss")
    add(
        "--samples",
        type=several,
        default=0,
        help="self-critical training: draw so many captions a photo and raise their CIDEr; "
        "0 learns from the captions as they are",
    )
    add("--captions-weight", type=share, default=0.0, help="of people's captions beside --samples")

    add = parser.add_argument_group("how").add_argument
    add("--epochs", type=above_zero, default=5, help="passes over the train photos")
    add(
        "--batch-size",
        type=positive,
        default=32,
        help="photos a step, with all their captions, over all processes",
    )
    add(
        "--accumulate",
        type=positive,
        default=1,
        help="parts that a step is computed in: the more, the less memory, the same result",
    )
    add("--average", type=share, default=0.99, help="decay of the weight average; 0 for none")
    add(
        "--patience", type=positive, default=3, help="stop after so many evaluations without a gain"
    )
    add("--eval-beams", type=positive, default=1, help="beams when the dev split is captioned")
    add("--limit", type=positive, help="use only so many photos of each split")
    add("--evaluations", type=above_zero, default=1.0, help="evaluations and saves an epoch")
    add("--cache", default=CACHE, help="folder for features and the photos of a hub dataset")
    add("--fp32", action="store_true", help="full precision instead of bfloat16")
    add("--seed", type=int, default=0, help="for weights, order and dropout")
    settings = parser.parse_args(arguments)
    if settings.captions_weight and not settings.samples:
        parser.error("argument --captions-weight: stands beside a reward; give --samples too")
    for name in ("encoder_blocks", "patch_dropout", "teacher"):
        if getattr(settings, name) and not settings.encoder_rate:
            option = name.replace("_", "-")
            parser.error(f"argument --{option}: give --encoder-rate too, or the encoder is frozen")
    if settings.encoder and settings.tune != "decoder":
        parser.error(f"argument --tune: {settings.tune} would leave a new decoder as it is")
    for name, (default, _) in NEW.items():
        if not settings.encoder and getattr(settings, name):
            parser.error(f"argument --{name.replace('_', '-')}: stands beside --encoder")
        if settings.encoder:
            setattr(settings, name, getattr(settings, name) or default)
    if settings.tune == "lora":
        settings.lora_rank = settings.lora_rank or LORA_RANK
    elif settings.lora_rank:
        parser.error("argument --lora-rank: stands beside --tune lora")
    if not settings.encoder and not settings.checkpoint:
        settings.checkpoint = str(SHIPPED)
    if settings.rate is None:
        settings.rate = NEW_RATE if settings.encoder else TUNE_RATE
    return settings
