"""Train a captioner: `python -m training.train --data DIR --output DIR`.

This file puts a run together: which captioner and which photos, checked before anything is learned,
and where a run that was interrupted goes on. `training/loop/trainer.py` has the loop.
"""

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainingArguments

from model import Captioner
from model.captioner import default_device
from model.error_reporting import report_errors
from model.errors import DataError
from model.network.tokenizer import CaptionTokenizer, as_sentence
from model.output_path import check_output_folder
from training.check import check_data, warn_of_few_dev_photos
from training.data import CaptionedImage, read_corpus
from training.data.augmentation import Augmentation, mirrored
from training.data.dataset import CaptionDataset, cache_features, collate
from training.evaluation.metrics import can_cider_rise
from training.loop.callbacks import Course, describe_best
from training.loop.checkpoints import (
    STATE,
    check_same_run,
    find_last_checkpoint,
    name_write_errors,
    record_settings,
)
from training.loop.learner import Average, Learner
from training.loop.run_folder import BEST, DATA, SETTINGS, write_whole
from training.loop.trainable_parameters import choose_parts
from training.loop.trainer import CaptionTrainer, restore_best
from training.objectives.distillation import Distillation, load_teacher, teacher_maps
from training.objectives.reward import CiderReward
from training.options import parse


def train(settings: argparse.Namespace) -> None:
    """Run, or go on with, the training that the settings describe.

    Raises DataError, CheckpointError or another ValueError, each with a message for the user.
    """
    output = Path(settings.output)
    for folder in (output, settings.cache):
        check_output_folder(folder)
    torch.manual_seed(settings.seed)
    arguments = trainer_arguments(settings)
    main_process = arguments.process_index == 0
    started = Captioner.from_pretrained(settings.checkpoint) if settings.checkpoint else None
    with arguments.main_process_first(desc="reading the photos"):
        data, dev = photos(settings, started, aloud=main_process)
        contents = describe_data(train=data, dev=dev)
        last = None
        if (output / SETTINGS).is_file():
            check_same_run(output, settings, contents)
            last = find_last_checkpoint(output, verbose=main_process)
    captioner = ready(settings, started) if started else new(settings, data)
    captioner.to(default_device())
    choose_parts(captioner, settings)
    captioner.encoder.patch_dropout = settings.patch_dropout if settings.encoder_rate else 0.0
    if main_process:
        with name_write_errors(output):
            output.mkdir(parents=True, exist_ok=True)
            for name, content in ((SETTINGS, record_settings(settings)), (DATA, contents)):
                write_whole(output / name, json.dumps(content, indent=2) + "\n")
            restore_best(output / BEST)
    steps_per_pass = math.ceil(len(data) / settings.batch_size)
    if steps_per_pass * settings.epochs <= 1:
        arguments.warmup_steps = 0  # the rate of the first step of a warm-up is 0
    steps = max(1, round(steps_per_pass / settings.evaluations))
    arguments.eval_steps = arguments.save_steps = steps
    arguments.logging_steps = min(20, steps)
    trainer, average = put_together(settings, arguments, captioner, data, dev)
    stopped = done = False
    history = []
    if last:
        average.load(last)
        state = json.loads(Path(last, STATE).read_text(encoding="utf-8"))
        history = state["log_history"]
        if state["best_metric"] is not None:
            trainer.best = state["best_metric"]
        patience = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]
        stopped = patience["early_stopping_patience_counter"] >= settings.patience
        done = state["global_step"] >= state["max_steps"]
        if main_process:
            what = "stopped early at" if stopped else "finished at" if done else "going on from"
            print(f"{what} {last}")
    if not stopped and not done:
        try:
            trainer.train(resume_from_checkpoint=last)
        except BaseException:
            print(file=sys.stderr)  # the progress bar still stands in its line
            raise
        history = trainer.state.log_history
    if main_process:
        print(f"best {describe_best(history)}; the captioner is in {output / BEST}")


def photos(
    settings: argparse.Namespace, captioner: Captioner | None, aloud: bool
) -> tuple[list[CaptionedImage], list[CaptionedImage]]:
    """The train and the dev photos that can be used, and by this captioner if there is one yet.

    Raises DataError with a line for each thing that would waste the run.
    """
    corpus = read_corpus(settings.data, settings.format, settings.cache)
    report = check_data(corpus.items, captioner, corpus.wordless)
    train, dev = (
        [item for item in report.readable if item.split == split][: settings.limit]
        for split in ("train", "dev")
    )
    if aloud:
        # --limit may leave fewer than were inspected
        for warning in dict.fromkeys([*report.warnings, *warn_of_few_dev_photos(dev)]):
            print(f"warning: {warning}", file=sys.stderr)
    if report.stops:
        raise DataError("\n".join(report.stops))
    return train, dev


def ready(settings: argparse.Namespace, captioner: Captioner) -> Captioner:
    """A captioner that has learned before, made ready to go on."""
    captioner.familiarity = None  # of the encoder before, and of other photos
    for module in captioner.decoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = settings.dropout
    return captioner


def new(settings: argparse.Namespace, train: list[CaptionedImage]) -> Captioner:
    """An encoder with a decoder, and a tokenizer, that learn from nothing.

    Raises DataError when there is no such encoder.
    """
    sentences = [as_sentence(caption) for item in train for caption in item.captions]
    tokenizer = CaptionTokenizer.train(sentences, settings.vocab_size)
    try:
        return Captioner.from_encoder(
            settings.encoder,
            tokenizer,
            (settings.image_size, settings.image_size),
            width=settings.width,
            num_layers=settings.layers,
            num_heads=settings.heads,
            dropout=settings.dropout,
        )
    except OSError as error:
        raise DataError(
            f"--encoder {settings.encoder}: neither a folder nor a model that the hub gives out"
        ) from error


def trainer_arguments(settings: argparse.Namespace) -> TrainingArguments:
    """The Trainer's own settings.

    Raises DataError when a step's photos cannot be shared out evenly.
    """
    arguments = TrainingArguments(
        output_dir=settings.output,
        num_train_epochs=settings.epochs,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        bf16=not settings.fp32,
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
        logging_nan_inf_filter=False,  # a loss that is no number is an error here
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one GPU a process; torchrun starts one process for each
    parts = settings.accumulate * arguments.world_size
    if settings.batch_size % parts:
        raise DataError(
            f"--batch-size {settings.batch_size}: not a multiple of {parts}, the parts of a step "
            f"({settings.accumulate}) in each process ({arguments.world_size})"
        )
    arguments.per_device_train_batch_size = settings.batch_size // parts
    return arguments


def put_together(
    settings: argparse.Namespace,
    arguments: TrainingArguments,
    captioner: Captioner,
    data: list[CaptionedImage],
    dev: list[CaptionedImage],
) -> tuple[CaptionTrainer, Average]:
    """The Trainer with what it learns and from what."""
    reward = None
    if settings.samples:
        # two entries a photo: as it is, and mirrored
        reward = CiderReward(
            [c for item in data for c in (item.captions, [mirrored(x) for x in item.captions])]
        )
        if not reward.can_rise:
            raise DataError(
                "--samples: no caption earns a reward, as all train photos have the same words; "
                "leave --samples out, or add train photos"
            )
    features, dev_features = cached_features(settings, arguments, captioner, data, dev)
    maps, distillation = taught(settings, arguments, captioner, data)
    learner = Learner(
        captioner,
        settings.label_smoothing,
        reward,
        settings.samples,
        settings.captions_weight if reward else 1.0,
        distillation,
        settings.teacher_weight,
    ).to(captioner.device)
    augmentation = Augmentation(settings.mirror, settings.crop, settings.seed)
    average = Average(learner, settings.average)
    trainer = CaptionTrainer(
        learner,
        arguments,
        train_dataset=CaptionDataset(data, captioner, augmentation, features, maps),
        eval_dataset=dev,
        data_collator=collate,
        settings=settings,
        average=average,
        dev=dev,
        dev_features=dev_features,
    )
    trainer.add_callback(EarlyStoppingCallback(settings.patience))
    one_caption_is_right = not can_cider_rise({item.name: item.captions for item in dev})
    trainer.add_callback(Course(Path(settings.output), len(dev), one_caption_is_right))
    return trainer, average


def cached_features(settings, arguments, captioner, data, dev):
    """Features of the train and the dev photos while the encoder stays as it is, else None.

    Cropped photos are too many to keep, so only those of dev are kept then.
    """
    if settings.encoder_rate:
        return None, None
    cache, bf16 = Path(settings.cache), not settings.fp32
    with arguments.main_process_first(desc="encoding the photos"):
        features = None
        if settings.crop == 1:
            features = cache_features(captioner, data, cache, settings.mirror, bf16)
        return features, cache_features(captioner, dev, cache, bf16=bf16)


def taught(settings, arguments, captioner, data) -> tuple[np.ndarray | None, Distillation | None]:
    """What a teacher sees in the train photos, and the loss against it."""
    if not settings.teacher:
        return None, None
    with arguments.main_process_first(desc="asking the teacher"):
        maps = teacher_maps(settings.teacher, data, Path(settings.cache))
    classifier = load_teacher(settings.teacher)._fc
    width, grid_size = captioner.config.image_width, captioner.encoder.grid_size
    torch.manual_seed(settings.seed)  # the same layer whether or not the maps were there
    return maps, Distillation(width, grid_size, classifier, maps)


def describe_data(**splits: list[CaptionedImage]) -> dict[str, dict]:
    """What a run learned from and was judged by: counts, and a digest of names and captions."""
    contents = {}
    for name, items in splits.items():
        captions = json.dumps([(item.name, item.captions) for item in items])
        contents[name] = {
            "photos": len(items),
            "captions": sum(len(item.captions) for item in items),
            "digest": hashlib.sha256(captions.encode()).hexdigest()[:16],
        }
    return contents


@report_errors
def main(arguments: list[str] | None = None) -> int:
    try:
        train(parse(arguments))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
