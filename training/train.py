"""Train a captioner: `python -m training.train --data DIR --output DIR`.

transformers' Trainer does the loop (resuming, mixed precision, several processes, logging); this
file says what is learned, at which rate, and how a dev split is judged while it goes on.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from model import Captioner
from model.captioner import default_device
from model.tokenizer import CaptionTokenizer, as_sentence
from training.augmentation import Augmentation, mirrored
from training.data import CaptionedImage, DataError, read_split
from training.distillation import TEACHERS, Distillation, load_teacher, teacher_maps
from training.evaluate import caption_split
from training.examples import CaptionDataset, cache_features, collate
from training.learner import AVERAGE, Average, Learner, parameter_groups
from training.metrics import cider_scores
from training.reward import CiderReward

BEST = "best"
SETTINGS = "settings.json"


class CaptionTrainer(Trainer):
    """Trainer with the captioning loss, a rate for each half, and dev CIDEr."""

    def __init__(
        self,
        *args,
        settings: argparse.Namespace,
        average: Average,
        dev: list[CaptionedImage],
        dev_features: np.ndarray | None,
        **kwargs,
    ):
        super().__init__(*args, callbacks=[average], **kwargs)
        self.settings, self.average = settings, average
        self.dev, self.dev_features = dev, dev_features
        self.best = -1.0

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(
                parameter_groups(self.model, self.settings), betas=(0.9, 0.98)
            )
        return self.optimizer

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Caption the dev photos with the averaged weights; keep the captioner if it is better."""
        learner = self.accelerator.unwrap_model(self.model)
        learner.eval()
        captioner = learner.captioner
        self.average.swap(learner)
        try:
            scores = self._score(captioner)
            if scores["eval_cider"] > self.best and self.is_world_process_zero():
                self.best = scores["eval_cider"]
                captioner.save_pretrained(Path(self.args.output_dir, BEST))
        finally:
            self.average.swap(learner)
        self.log(scores)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, scores
        )
        return scores

    def _score(self, captioner: Captioner) -> dict[str, float]:
        features = None if self.dev_features is None else self.dev_features[0]
        with torch.autocast(captioner.device.type, torch.bfloat16, self.args.bf16):
            written, _ = caption_split(
                captioner, self.dev, features, batch_size=32, num_beams=self.settings.eval_beams
            )
        references = {item.name: item.captions for item in self.dev}
        cider = float(np.mean(cider_scores(written, references)))
        for item in self.dev[:3]:
            tqdm.write(f"  {item.name}: {written[item.name]}")
        return {
            "eval_cider": cider,
            "eval_distinct": len(set(written.values())) / len(written),
        }


def new_or_loaded(settings: argparse.Namespace, train: list[CaptionedImage]) -> Captioner:
    """The captioner to start from: a checkpoint, or an encoder with a decoder yet to learn."""
    if settings.checkpoint:
        captioner = Captioner.from_pretrained(settings.checkpoint)
        captioner.familiarity = None  # of the encoder before, and of other photos
        for module in captioner.decoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = settings.dropout
        return captioner
    sentences = [as_sentence(caption) for item in train for caption in item.captions]
    tokenizer = CaptionTokenizer.train(sentences, settings.vocab_size)
    return Captioner.from_encoder(
        settings.encoder,
        tokenizer,
        (settings.image_size, settings.image_size),
        width=settings.width,
        num_layers=settings.layers,
        num_heads=settings.heads,
        dropout=settings.dropout,
    )


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
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, not {value}")
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


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train an image captioner. A run that was interrupted goes on when the same "
        "command is given again.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, help="folder in Flickr8k's or Kaggle's layout")
    add("--output", required=True, help="run folder; the best captioner comes to OUTPUT/best")
    add("--checkpoint", help="captioner to go on from (a folder or hub id)")
    add("--encoder", default="facebook/dinov2-small", help="image encoder for a new captioner")
    add("--image-size", type=positive, default=224, help="pixels a side, for a new captioner")
    add("--width", type=positive, default=256, help="of a new decoder")
    add("--layers", type=positive, default=4, help="of a new decoder")
    add("--heads", type=positive, default=8, help="of a new decoder")
    add("--vocab-size", type=positive, default=4000, help="of a new tokenizer")
    add("--dropout", type=share, default=0.1, help="in the decoder")
    add("--epochs", type=above_zero, default=5, help="passes over the train photos")
    add("--batch-size", type=positive, default=32, help="photos a step, each with all its captions")
    add("--rate", type=above_zero, default=1e-3, help="peak learning rate of the decoder")
    add("--encoder-rate", type=float, default=0.0, help="of the encoder; 0 keeps it frozen")
    add("--patch-dropout", type=share, default=0.0, help="share left out when the encoder learns")
    add("--weight-decay", type=float, default=0.05, help="on matrices")
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
    add("--average", type=share, default=0.99, help="decay of the weight average; 0 for none")
    add("--mirror", action="store_true", help="also learn from mirrored photos")
    add("--crop", type=part, default=1.0, help="smallest share of a photo shown; 1 shows it all")
    add(
        "--patience", type=positive, default=3, help="stop after so many evaluations without a gain"
    )
    add("--eval-beams", type=positive, default=1, help="beams when the dev split is captioned")
    add("--limit", type=int, default=0, help="use this many photos of each split; 0 for all")
    add("--evaluations", type=above_zero, default=1.0, help="evaluations and saves an epoch")
    add("--cache", default="runs/cache", help="folder for a frozen encoder's features")
    add("--fp32", action="store_true", help="full precision instead of bfloat16")
    add("--seed", type=int, default=0, help="for weights, order and dropout")
    settings = parser.parse_args(arguments)
    if settings.captions_weight and not settings.samples:
        parser.error("argument --captions-weight: stands beside a reward; give --samples too")
    return settings


def train(settings: argparse.Namespace) -> None:
    output = Path(settings.output)
    torch.manual_seed(settings.seed)
    data, dev = read_split(settings.data, "train"), read_split(settings.data, "dev")
    if settings.limit:
        data, dev = data[: settings.limit], dev[: settings.limit]
    last = last_checkpoint(output, settings)
    captioner = new_or_loaded(settings, data).to(default_device())
    frozen = settings.encoder_rate == 0
    captioner.encoder.requires_grad_(not frozen)
    captioner.encoder.patch_dropout = settings.patch_dropout
    output.mkdir(parents=True, exist_ok=True)
    (output / SETTINGS).write_text(json.dumps(vars(settings), indent=2) + "\n")
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        bf16=not settings.fp32,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        save_strategy="steps",
        save_total_limit=2,
        metric_for_best_model="cider",
        greater_is_better=True,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        restore_callback_states_from_checkpoint=True,
    )
    a_step = settings.batch_size * max(1, arguments.n_gpu) * arguments.world_size
    steps = max(1, round(len(data) / a_step / settings.evaluations))
    arguments.eval_steps = arguments.save_steps = steps
    arguments.logging_steps = min(20, steps)
    features = dev_features = None
    if frozen and settings.crop == 1:
        cache = Path(settings.cache)
        with arguments.main_process_first(desc="encoding photos"):
            features = cache_features(captioner, data, cache, settings.mirror, not settings.fp32)
            dev_features = cache_features(captioner, dev, cache, bf16=not settings.fp32)
    maps = distillation = None
    if settings.teacher:
        with arguments.main_process_first(desc="asking the teacher"):
            maps = teacher_maps(settings.teacher, data, Path(settings.cache))
        distillation = Distillation(
            captioner.config.image_width,
            captioner.encoder.grid_size,
            load_teacher(settings.teacher)._fc,
            maps,
        )
    reward = None
    if settings.samples:
        # two entries a photo: as it is, and mirrored
        reward = CiderReward(
            [c for item in data for c in (item.captions, [mirrored(x) for x in item.captions])]
        )
    learner = Learner(
        captioner,
        settings.label_smoothing,
        reward,
        settings.samples,
        settings.captions_weight if reward else 1.0,
        distillation,
        settings.teacher_weight,
    ).to(captioner.device)
    average = Average(learner, settings.average)
    augmentation = Augmentation(settings.mirror, settings.crop, settings.seed)
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
    stopped = False
    if last:
        average.load(last)
        state = json.loads(Path(last, "trainer_state.json").read_text())
        if state["best_metric"] is not None:
            trainer.best = state["best_metric"]
        patience = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]
        stopped = patience["early_stopping_patience_counter"] >= settings.patience
        print(f"{'stopped early at' if stopped else 'going on from'} {last}")
    if not stopped:
        trainer.train(resume_from_checkpoint=last)
    print(f"best dev CIDEr {trainer.best:.1f}; the captioner is in {output / BEST}")


def last_checkpoint(output: Path, settings: argparse.Namespace) -> str | None:
    """The newest whole checkpoint of this run, if it has one.

    Raises DataError when the folder is a run with other settings: the two must not be mixed.
    """
    # the averages are written last: without them the run was stopped in the middle of saving
    whole = [path.parent for path in output.glob(f"checkpoint-*/{AVERAGE}")]
    if not whole:
        return None
    before = json.loads((output / SETTINGS).read_text())
    now = vars(settings)
    if changed := [name for name in now if before.get(name) != now[name]]:
        told = ", ".join(f"--{name.replace('_', '-')} {before.get(name)}" for name in changed)
        raise DataError(f"{output} holds a run with {told}; give the same, or another --output")
    return str(max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-"))))


def main(arguments: list[str] | None = None) -> int:
    try:
        train(parse(arguments))
    except (ValueError, OSError) as error:  # ours are ValueErrors
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
