"""Everything a run needs, checked before anything is trained: photos, network, losses, trainer."""

import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainingArguments

from model import Captioner
from model.captioner import choose_device
from model.checkpoint.problems import blame_file
from model.errors import DataError, OptionError
from model.network.network import Network
from model.network.tokenizer import CaptionTokenizer, as_sentence
from model.output_path import check_output_folder
from training.data import CaptionedImage, read_corpora
from training.data.augmentation import Augmentation
from training.data.dataset import CaptionDataset, cache_features, collate, list_view_captions
from training.data.schedule import PhotoSchedule
from training.evaluation.data_checks import check_data, warn_of_few_dev_photos
from training.evaluation.metrics import can_cider_rise
from training.loop.callbacks import RunMonitor
from training.loop.checkpoints import (
    check_same_run,
    find_last_checkpoint,
    record_settings,
    report_write_errors,
)
from training.loop.learner import Learner, WeightAverage
from training.loop.precision import is_bfloat16_fast
from training.loop.run_folder import BEST, DATA, SETTINGS, summarize_data, write_json
from training.loop.trainable_parameters import freeze_other_parts, group_parameters
from training.loop.trainer import CaptionTrainer, group_references, restore_checkpoint
from training.objectives.distillation import DistillationLoss, cache_teacher_maps, load_teacher
from training.objectives.reward import CiderReward
from training.settings import TrainingSettings


class NewNetworkSettings(Protocol):
    """What decides how a new captioner begins; see the options of `training.train`."""

    encoder: str
    image_size: int
    width: int
    layers: int
    heads: int
    vocab_size: int
    dropout: float


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to start.

    Attributes:
        output: the run folder.
        trainer: with the network, its losses and the photos.
        last_checkpoint: where the run is to be resumed from; None for a new run.
    """

    output: Path
    trainer: CaptionTrainer
    last_checkpoint: str | None


@dataclass(frozen=True)
class Photos:
    """The photos of the two splits that a run uses, corpus by corpus."""

    train: list[CaptionedImage]
    dev: list[CaptionedImage]

    def count_train_photos(self) -> list[int]:
        """How many train photos each corpus has."""
        return list(Counter(item.corpus for item in self.train).values())


def prepare_run(settings: TrainingSettings) -> PreparedRun:
    """Check the settings against the photos and the run folder, and put the run together.

    Raises CaptionLensError for what would waste the run, with a message that says what to do.
    """
    output = Path(settings.output)
    for folder in (output, settings.cache):
        check_output_folder(folder)
    torch.manual_seed(settings.seed)
    arguments = create_training_arguments(settings)
    is_main_process = arguments.process_index == 0
    earlier = (
        Captioner.from_pretrained(settings.checkpoint).network if settings.checkpoint else None
    )
    with arguments.main_process_first(desc="reading the photos"):
        photos = load_photos(settings, earlier, verbose=is_main_process)
        data_summary = summarize_data(train=photos.train, dev=photos.dev)
        last_checkpoint = None
        if (output / SETTINGS).is_file():
            check_same_run(output, record_settings(settings), data_summary)
            last_checkpoint = find_last_checkpoint(output, verbose=is_main_process)
    network = earlier or create_network(
        settings, (as_sentence(text) for item in photos.train for text in item.captions)
    )
    prepare_network(network, settings)
    if is_main_process:
        with report_write_errors(output):
            output.mkdir(parents=True, exist_ok=True)
            write_json(output / SETTINGS, record_settings(settings))
            write_json(output / DATA, data_summary)
            restore_checkpoint(output / BEST)
    schedule_evaluations(arguments, settings, len(photos.train))
    trainer = create_trainer(settings, arguments, network, photos)
    return PreparedRun(output, trainer, last_checkpoint)


def create_training_arguments(settings: TrainingSettings) -> TrainingArguments:
    """The Trainer's own settings.

    Raises OptionError when the photos of a step cannot be shared out evenly.
    """
    arguments = TrainingArguments(
        output_dir=settings.output,
        num_train_epochs=settings.epochs,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        bf16=not settings.fp32 and is_bfloat16_fast(),
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        save_strategy="steps",
        save_total_limit=2,
        metric_for_best_model="selection_score",
        greater_is_better=True,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        restore_callback_states_from_checkpoint=True,
        ddp_timeout=24 * 3600,  # seconds: the others wait while one process encodes all photos
        logging_nan_inf_filter=False,  # a loss that is not a number is an error here
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one GPU a process; torchrun starts one process for each
    num_parts = settings.accumulate * arguments.world_size
    if settings.batch_size % num_parts:
        raise OptionError(
            f"--batch-size {settings.batch_size}: not a multiple of {num_parts}, the parts of a "
            f"step ({settings.accumulate}) in each process ({arguments.world_size})"
        )
    arguments.per_device_train_batch_size = settings.batch_size // num_parts
    return arguments


def schedule_evaluations(
    arguments: TrainingArguments, settings: TrainingSettings, num_photos: int
) -> None:
    """Set how many steps lie between evaluations, checkpoints and entries of the log."""
    steps_per_epoch = math.ceil(num_photos / settings.batch_size)
    if steps_per_epoch * settings.epochs <= 1:
        arguments.warmup_steps = 0  # the rate of the first step of a warm-up is 0
    interval = max(1, round(steps_per_epoch / settings.evaluations))
    arguments.eval_steps = arguments.save_steps = interval
    arguments.logging_steps = min(20, interval)


def load_photos(settings: TrainingSettings, network: Network | None, verbose: bool) -> Photos:
    """The train and the dev photos that can be used.

    network: the one that is trained further, which decides how long a caption may be.
    verbose: print warnings about the data on standard error.

    Raises DataError with a line for each thing that would waste the run.
    """
    corpora = read_corpora(settings.data, settings.format, settings.cache)
    items = [item for corpus in corpora for item in corpus.items]
    report = check_data(items, network, [name for corpus in corpora for name in corpus.wordless])
    train, dev = (
        [
            item
            for _, items in groupby(report.readable, key=lambda item: item.corpus)
            for item in [item for item in items if item.split == split][: settings.limit]
        ]
        for split in ("train", "dev")
    )
    if settings.data_shares and len(Photos(train, dev).count_train_photos()) < len(corpora):
        raise OptionError("--data-shares: one of --data has no train photos; leave it out")
    if verbose:
        # --limit may leave fewer photos than were checked
        for warning in dict.fromkeys([*report.warnings, *warn_of_few_dev_photos(dev)]):
            print(f"warning: {warning}", file=sys.stderr)
    if report.stops:
        raise DataError("\n".join(report.stops))
    return Photos(train, dev)


def create_network(settings: NewNetworkSettings, sentences: Iterable[str]) -> Network:
    """A pretrained encoder with a new decoder, and a tokenizer trained on sentences.

    Raises OptionError when there is no such encoder, CheckpointError when it cannot be used.
    """
    tokenizer = CaptionTokenizer.train(sentences, settings.vocab_size)
    with blame_file(Path(settings.encoder)):
        try:
            captioner = Captioner.from_encoder(
                settings.encoder,
                tokenizer,
                (settings.image_size, settings.image_size),
                width=settings.width,
                num_layers=settings.layers,
                num_heads=settings.heads,
                dropout=settings.dropout,
            )
        except OSError as error:
            problem = "neither a folder nor a model that the hub gives out"
            if Path(settings.encoder).exists():
                problem = str(error).strip().partition("\n")[0]
            raise OptionError(f"--encoder {settings.encoder}: {problem}") from error
    return captioner.network


def prepare_network(network: Network, settings: TrainingSettings) -> None:
    """Set dropout, move the network to the device, and freeze what is not trained."""
    for module in network.decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    network.to(choose_device())
    freeze_other_parts(
        network,
        settings.tune,
        settings.lora_rank,
        train_encoder=settings.encoder_rate > 0,
        encoder_blocks=settings.encoder_blocks,
    )
    network.encoder.patch_dropout = settings.patch_dropout if settings.encoder_rate else 0.0


def create_trainer(
    settings: TrainingSettings, arguments: TrainingArguments, network: Network, photos: Photos
) -> CaptionTrainer:
    """The trainer with the losses, the photos and the callbacks."""
    reward = create_reward(photos.train) if settings.samples else None
    features, dev_features = cache_split_features(settings, arguments, network, photos)
    teacher_maps, distillation = create_distillation(settings, arguments, network, photos.train)
    learner = Learner(
        network,
        settings.label_smoothing,
        reward,
        settings.samples,
        settings.captions_weight if reward else 1.0,
        distillation,
        settings.teacher_weight,
    ).to(network.device)
    augmentation = Augmentation(settings.mirror, settings.crop, settings.seed)
    schedule = PhotoSchedule(photos.count_train_photos(), settings.data_shares, settings.seed)
    trainer = CaptionTrainer(
        learner,
        arguments,
        train_dataset=CaptionDataset(
            photos.train, network, augmentation, features, teacher_maps, schedule
        ),
        eval_dataset=photos.dev,
        data_collator=collate,
        parameter_groups=group_parameters(
            learner, settings.rate, settings.encoder_rate, settings.weight_decay
        ),
        average=WeightAverage(learner, settings.average),
        dev=photos.dev,
        dev_features=dev_features,
        eval_beams=settings.eval_beams,
    )
    trainer.add_callback(EarlyStoppingCallback(settings.patience))
    same_references = not any(
        can_cider_rise(group) for group in group_references(photos.dev).values()
    )
    trainer.add_callback(RunMonitor(Path(settings.output), len(photos.dev), same_references))
    return trainer


def create_reward(train: list[CaptionedImage]) -> CiderReward:
    """The reward of self-critical training.

    Raises OptionError when no caption can earn any.
    """
    # two views of each photo
    corpora = [item.corpus for item in train for _ in range(2)]
    reward = CiderReward(list_view_captions(train), corpora)
    if not reward.can_rise:
        raise OptionError(
            "--samples: no caption earns a reward, as all train photos have the same words; "
            "leave --samples out, or add train photos"
        )
    return reward


def cache_split_features(
    settings: TrainingSettings, arguments: TrainingArguments, network: Network, photos: Photos
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Features of the train and the dev photos; None where they are computed at each step.

    They are cached while the encoder is frozen. Crops are too many, so only the dev photos'
    features are cached then.
    """
    if settings.encoder_rate:
        return None, None
    cache, bf16 = Path(settings.cache), arguments.bf16
    with arguments.main_process_first(desc="encoding the photos"):
        train_features = None
        if settings.crop == 1:
            train_features = cache_features(
                network, photos.train, cache, mirror=settings.mirror, bf16=bf16
            )
        return train_features, cache_features(network, photos.dev, cache, bf16=bf16)


def create_distillation(
    settings: TrainingSettings,
    arguments: TrainingArguments,
    network: Network,
    train: list[CaptionedImage],
) -> tuple[np.ndarray | None, DistillationLoss | None]:
    """The teacher's maps of the train photos, and the loss against them; None without a teacher."""
    if not settings.teacher:
        return None, None
    with arguments.main_process_first(desc="running the teacher"):
        maps = cache_teacher_maps(settings.teacher, train, Path(settings.cache))
    classifier = load_teacher(settings.teacher)._fc
    width, grid_size = network.config.image_width, network.encoder.grid_size
    torch.manual_seed(settings.seed)  # the same new layer whether or not the maps were cached
    return maps, DistillationLoss(width, grid_size, classifier, maps)
