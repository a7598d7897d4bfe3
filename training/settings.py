"""The settings of a training run: their defaults, their limits and the options they make."""

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

from model.checkpoint.hub import SHIPPED
from model.errors import OptionError
from training.data import CACHE, DATA_HELP, FORMAT_HELP, FORMATS
from training.objectives.distillation import TEACHERS
from training.options import (
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    PROPORTION,
    SAMPLE_COUNT,
    SEED,
    HelpFormatter,
    Limit,
    name_option,
)

TUNABLE_PARTS = ("decoder", "cross-attention", "lora")
LORA_RANK = 8
# of the text side: of a new decoder, and of one that has been trained before
NEW_DECODER_RATE, FINE_TUNING_RATE = 1e-3, 3e-4
NEW_CAPTIONER = {
    "image_size": 224,
    "width": 256,
    "layers": 4,
    "heads": 8,
    "vocab_size": 4000,
}

INPUT_GROUP = None  # argparse's own
START_GROUP = "starting point"
MODEL_GROUP = "trained parts"
OBJECTIVE_GROUP = "objective"
RUN_GROUP = "run"


def _setting(
    group: str | None,
    help: str,
    default: Any = dataclasses.MISSING,
    limit: Limit | None = None,
    choices: tuple[str, ...] | None = None,
    several: type | None = None,
) -> Any:
    """A dataclass field that is also an option; without a default it must be given.

    several: the type of each value of an option that takes several.
    """
    metadata = {
        "group": group,
        "help": help,
        "limit": limit,
        "choices": choices,
        "several": several,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that decides what a run does; `help` of each field says what it is.

    What is None and depends on other settings (`checkpoint`, `rate`, `lora_rank`, the sizes of a
    new captioner) gets its default on creation.

    Raises OptionError, in one line that begins with the option, for a value that is not allowed
    and for settings that contradict each other.
    """

    data: str | tuple[str, ...] = _setting(
        INPUT_GROUP, f"{DATA_HELP}; several are learned from together", several=str
    )
    data_shares: tuple[float, ...] | None = _setting(
        INPUT_GROUP,
        "with several --data: how often the photos of each come, in any unit (default: each photo "
        "once an epoch)",
        None,
        POSITIVE,
        several=float,
    )
    format: str | None = _setting(INPUT_GROUP, FORMAT_HELP, None, choices=tuple(FORMATS))
    output: str = _setting(INPUT_GROUP, "run folder; the best captioner is written to OUTPUT/best")

    checkpoint: str | None = _setting(
        START_GROUP,
        "captioner to continue from, a folder or hub id (default: the shipped one)",
        None,
    )
    encoder: str | None = _setting(
        START_GROUP, "image encoder of a new captioner, a folder or hub id", None
    )
    image_size: int | None = _setting(
        START_GROUP,
        f"with --encoder: side of the input image in pixels (default: "
        f"{NEW_CAPTIONER['image_size']})",
        None,
        COUNT,
    )
    width: int | None = _setting(
        START_GROUP,
        f"with --encoder: width of the decoder (default: {NEW_CAPTIONER['width']})",
        None,
        COUNT,
    )
    layers: int | None = _setting(
        START_GROUP,
        f"with --encoder: layers of the decoder (default: {NEW_CAPTIONER['layers']})",
        None,
        COUNT,
    )
    heads: int | None = _setting(
        START_GROUP,
        f"with --encoder: attention heads of the decoder (default: {NEW_CAPTIONER['heads']})",
        None,
        COUNT,
    )
    vocab_size: int | None = _setting(
        START_GROUP,
        f"with --encoder: tokens of the new tokenizer (default: {NEW_CAPTIONER['vocab_size']})",
        None,
        COUNT,
    )

    tune: str = _setting(
        MODEL_GROUP, "part of the text side to train", "decoder", choices=TUNABLE_PARTS
    )
    lora_rank: int | None = _setting(
        MODEL_GROUP, f"with --tune lora: rank of the adapters (default: {LORA_RANK})", None, COUNT
    )
    rate: float | None = _setting(
        MODEL_GROUP,
        f"peak learning rate of the text side (default: {FINE_TUNING_RATE}, or "
        f"{NEW_DECODER_RATE} with --encoder)",
        None,
        POSITIVE,
    )
    encoder_rate: float = _setting(
        MODEL_GROUP, "peak learning rate of the image encoder; 0 freezes it", 0.0, NOT_NEGATIVE
    )
    encoder_blocks: int | None = _setting(
        MODEL_GROUP,
        "train only the last ENCODER_BLOCKS blocks of the image encoder (default: all)",
        None,
        COUNT,
    )
    patch_dropout: float = _setting(
        MODEL_GROUP, "fraction of patches dropped while the encoder is trained", 0.0, FRACTION
    )
    dropout: float = _setting(MODEL_GROUP, "dropout in the decoder", 0.1, FRACTION)
    weight_decay: float = _setting(
        MODEL_GROUP, "weight decay of matrices; biases and norms have none", 0.05, NOT_NEGATIVE
    )

    mirror: bool = _setting(
        OBJECTIVE_GROUP,
        'also train on mirrored photos, with "left" and "right" exchanged in the captions',
        False,
    )
    crop: float = _setting(
        OBJECTIVE_GROUP,
        "random crops of at least this fraction of a photo's area; 1 does not crop",
        1.0,
        PROPORTION,
    )
    label_smoothing: float = _setting(
        OBJECTIVE_GROUP, "probability given to all other tokens in the target", 0.1, FRACTION
    )
    teacher: str | None = _setting(
        OBJECTIVE_GROUP,
        "image classifier whose features the encoder learns to predict",
        None,
        choices=TEACHERS,
    )
    teacher_weight: float = _setting(OBJECTIVE_GROUP, "weight of the teacher's loss", 1.0, POSITIVE)
    samples: int = _setting(
        OBJECTIVE_GROUP,
        "self-critical training: sample this many captions a photo and raise their CIDEr; 0 "
        "learns from the captions as they are",
        0,
        SAMPLE_COUNT,
    )
    captions_weight: float = _setting(
        OBJECTIVE_GROUP,
        "with --samples: weight of the loss of the captions that people wrote",
        0.0,
        NOT_NEGATIVE,
    )

    epochs: float = _setting(RUN_GROUP, "passes over the train photos", 5, POSITIVE)
    batch_size: int = _setting(
        RUN_GROUP, "photos a step, with all their captions, over all processes", 32, COUNT
    )
    accumulate: int = _setting(
        RUN_GROUP,
        "number of parts a step is computed in: less memory, the same result",
        1,
        COUNT,
    )
    average: float = _setting(
        RUN_GROUP, "decay of the moving average of the weights; 0 for none", 0.99, FRACTION
    )
    patience: int = _setting(
        RUN_GROUP, "stop after this many evaluations without improvement", 3, COUNT
    )
    eval_beams: int = _setting(RUN_GROUP, "beams when the dev photos are captioned", 1, COUNT)
    limit: int | None = _setting(
        RUN_GROUP, "use only the first LIMIT photos of each split", None, COUNT
    )
    evaluations: float = _setting(
        RUN_GROUP, "evaluations, each with a checkpoint, per epoch", 1.0, POSITIVE
    )
    cache: str = _setting(
        RUN_GROUP, "folder for image features and the photos of a hub dataset", CACHE
    )
    fp32: bool = _setting(
        RUN_GROUP, "train in full precision where bfloat16 would be faster", False
    )
    seed: int = _setting(RUN_GROUP, "seed of weights, order and dropout", 0, SEED)

    def __post_init__(self):
        if isinstance(self.data, str):
            object.__setattr__(self, "data", (self.data,))  # as a frozen dataclass is completed
        for name in ("data", "data_shares"):  # lists of the command line
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_values()
        self._check_combinations()
        self._fill_in_defaults()

    def _check_values(self) -> None:
        for field in dataclasses.fields(self):
            value, limit = getattr(self, field.name), field.metadata["limit"]
            choices = field.metadata["choices"]
            if value is None:
                continue
            if limit:
                for one in value if field.metadata["several"] else [value]:
                    limit.check(name_option(field.name), one)
            if choices and value not in choices:
                raise OptionError(
                    f"{name_option(field.name)}: invalid choice: {value!r} (choose from "
                    f"{', '.join(choices)})"
                )

    def _check_combinations(self) -> None:
        if self.data_shares and len(self.data_shares) != len(self.data):
            raise OptionError(
                f"--data-shares: {len(self.data_shares)} for {len(self.data)} --data; give one each"
            )
        if self.captions_weight and not self.samples:
            raise OptionError("--captions-weight: only allowed with --samples")
        for name in ("encoder_blocks", "patch_dropout", "teacher"):
            if getattr(self, name) and not self.encoder_rate:
                raise OptionError(
                    f"{name_option(name)}: give --encoder-rate too, or the encoder is frozen"
                )
        if self.encoder and self.checkpoint:
            raise OptionError("--encoder: not allowed with argument --checkpoint")
        if self.encoder and self.tune != "decoder":
            raise OptionError(f"--tune: {self.tune} would leave a new decoder untrained")
        for name in NEW_CAPTIONER:
            if getattr(self, name) and not self.encoder:
                raise OptionError(f"{name_option(name)}: only allowed with --encoder")
        if self.lora_rank and self.tune != "lora":
            raise OptionError("--lora-rank: only allowed with --tune lora")

    def _fill_in_defaults(self) -> None:
        defaults: dict[str, Any] = {"rate": NEW_DECODER_RATE if self.encoder else FINE_TUNING_RATE}
        if self.encoder:
            defaults |= NEW_CAPTIONER
        else:
            defaults["checkpoint"] = str(SHIPPED)
        if self.tune == "lora":
            defaults["lora_rank"] = LORA_RANK
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


def create_parser() -> argparse.ArgumentParser:
    """The parser of `python -m training.train`, an option for each field of the settings."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train an image captioner. To resume an interrupted run, give the same "
        "command again.",
        formatter_class=HelpFormatter,
    )
    groups: dict[str | None, Any] = {INPUT_GROUP: parser}
    for field in dataclasses.fields(TrainingSettings):
        title, limit = field.metadata["group"], field.metadata["limit"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        if field.name == "checkpoint":
            start = groups[title].add_mutually_exclusive_group()
        container = start if field.name in ("checkpoint", "encoder") else groups[title]
        arguments: dict[str, Any] = {"help": field.metadata["help"]}
        if field.type is bool:
            arguments["action"] = "store_true"
        elif field.metadata["several"]:
            arguments |= {"type": field.metadata["several"], "nargs": "+"}
        else:
            arguments |= {"type": limit.type if limit else str}
            arguments |= {"choices": field.metadata["choices"]}
        if field.default is dataclasses.MISSING:
            arguments["required"] = True
        else:
            arguments["default"] = field.default
        container.add_argument(name_option(field.name), **arguments)
    return parser


def parse_settings(arguments: list[str] | None = None) -> TrainingSettings:
    """The settings that command line arguments describe; `sys.argv` if None.

    A mistake ends the program with argparse's usage message and status 2.
    """
    parser = create_parser()
    try:
        return TrainingSettings(**vars(parser.parse_args(arguments)))
    except OptionError as error:
        parser.error(f"argument {error}")
