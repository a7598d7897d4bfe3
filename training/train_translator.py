"""Train a translator: `python -m training.train_translator --train train.en train.de --dev val.en
val.de --output DIR`."""

import argparse
import os
import sys
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, TrainingArguments

from model.error_reporting import report_errors
from model.errors import DataError
from model.output_path import check_output_folder
from model.translation.config import TranslatorConfig
from model.translation.network import TranslatorNetwork
from model.translation.tokenizer import TranslatorTokenizer
from model.translation.translator import Translator
from training.loop.checkpoints import (
    check_same_run,
    find_last_checkpoint,
    read_run_state,
    report_write_errors,
)
from training.loop.learner import WeightAverage
from training.loop.precision import is_bfloat16_fast
from training.loop.run_folder import BEST, DATA, SETTINGS, write_json
from training.loop.trainer import restore_checkpoint
from training.options import (
    COUNT,
    FRACTION,
    POSITIVE,
    SEED,
    HelpFormatter,
    add_number_options,
    check_numbers,
)
from training.translation.batches import BatchDataset, collate_pairs, encode_pairs
from training.translation.pairs import (
    FILES_HELP,
    ParallelText,
    check_sources,
    read_parallel_text,
)
from training.translation.trainer import TranslationLearner, TranslationTrainer

NUMBERS = {
    "width": (COUNT, 256, "width of encoder and decoder"),
    "layers": (COUNT, 3, "layers of each"),
    "heads": (COUNT, 4, "attention heads"),
    "vocab_size": (COUNT, 10_000, "tokens of the tokenizer, which learns from --train"),
    "max_length": (COUNT, 128, "longest sentence, in tokens"),
    "dropout": (FRACTION, 0.3, "dropout"),
    "label_smoothing": (FRACTION, 0.1, "probability given to all other tokens in the target"),
    "rate": (POSITIVE, 2e-3, "peak learning rate"),
    "epochs": (POSITIVE, 30, "passes over the sentences"),
    "batch_tokens": (COUNT, 4096, "tokens of the target languages a step, padding included"),
    "average": (FRACTION, 0.995, "decay of the moving average of the weights"),
    "evaluations": (POSITIVE, 1.0, "evaluations, each with a checkpoint, per epoch"),
    "patience": (COUNT, 10, "stop after this many evaluations without a better dev BLEU"),
    "seed": (SEED, 0, "seed of weights, order and dropout"),
}


def create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train_translator",
        description="Train a translator. To resume an interrupted run, give the same command "
        "again.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--train", required=True, nargs="+", metavar="FILE", help=FILES_HELP)
    add("--dev", required=True, nargs="+", metavar="FILE", help="as --train, to choose the best by")
    add("--output", required=True, help="run folder; the best translator is in OUTPUT/best")
    add("--fp32", action="store_true", help="full precision where bfloat16 would be faster")
    add_number_options(parser, NUMBERS)
    return parser


def parse_settings(arguments: list[str] | None) -> argparse.Namespace:
    """The settings; a mistake ends the program with argparse's message and status 2."""
    parser = create_parser()
    settings = parser.parse_args(arguments)
    check_numbers(parser, settings, NUMBERS)
    return settings


def train(settings: argparse.Namespace) -> None:
    """Start, or resume, the run that the settings describe.

    Raises CaptionLensError or OSError, each with a message for the user.
    """
    output = Path(settings.output)
    check_output_folder(output)
    text, dev = read_parallel_text(settings.train), read_parallel_text(settings.dev)
    if list(dev.sentences) != list(text.sentences):
        raise DataError(
            f"--dev has {', '.join(dev.sentences)}, but --train {', '.join(text.sentences)}"
        )
    record = {name: getattr(settings, name) for name in ("fp32", *NUMBERS)}
    record |= {n: [os.path.abspath(f) for f in getattr(settings, n)] for n in ("train", "dev")}
    summary = {"train": text.summarize(), "dev": dev.summarize()}
    last_checkpoint = None
    if (output / SETTINGS).is_file():
        check_same_run(output, record, summary)
        restore_checkpoint(output / BEST)
        last_checkpoint = find_last_checkpoint(output)
    torch.manual_seed(settings.seed)
    network = create_network(settings, text)
    pairs = encode_pairs(text, network.tokenizer, settings.max_length)
    check_lengths(dev, network, len(pairs), text)
    batches = BatchDataset(pairs, settings.batch_tokens, settings.seed)
    with report_write_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / SETTINGS, record)
        write_json(output / DATA, summary)
    trainer = create_trainer(settings, network, batches, dev)
    if last_checkpoint:
        trainer.average.load(last_checkpoint)
        state = read_run_state(last_checkpoint)
        if state.best_score is not None:
            trainer.best_score = state.best_score
        print(f"resuming from {last_checkpoint}")
        if state.is_finished or state.evaluations_without_gain >= settings.patience:
            Translator.from_pretrained(output / BEST)  # raises CheckpointError where it is damaged
            print(f"the run has ended; its best translator is in {output / BEST}")
            return
    num_parameters = sum(p.numel() for p in network.parameters())
    print(f"{len(pairs):,} pairs in {len(batches):,} batches, {num_parameters:,} parameters")
    trainer.train(resume_from_checkpoint=last_checkpoint)
    print(f"best dev BLEU {trainer.best_score:.1f}; the translator is in {output / BEST}")


def create_network(settings: argparse.Namespace, text: ParallelText) -> TranslatorNetwork:
    """A new network, with a tokenizer that learns from all languages."""
    sentences = (s for sentences in text.sentences.values() for s in sentences)
    tokenizer = TranslatorTokenizer.train_for(sentences, settings.vocab_size, text.targets)
    config = TranslatorConfig(
        vocab_size=tokenizer.vocab_size,
        max_length=settings.max_length,
        width=settings.width,
        num_heads=settings.heads,
        num_encoder_layers=settings.layers,
        num_decoder_layers=settings.layers,
        dropout=settings.dropout,
    )
    return TranslatorNetwork(config, tokenizer)


def check_lengths(
    dev: ParallelText, network: TranslatorNetwork, num_pairs: int, text: ParallelText
) -> None:
    """Say how many pairs are too long; raises DataError where nothing, or a dev sentence, fits."""
    if not num_pairs:
        raise DataError("--train: every sentence is longer than --max-length")
    if left_out := text.num_lines * len(text.targets) - num_pairs:
        print(f"{left_out:,} pairs are longer than --max-length and left out", file=sys.stderr)
    check_sources(dev, Translator(network))


def create_trainer(
    settings: argparse.Namespace,
    network: TranslatorNetwork,
    batches: BatchDataset,
    dev: ParallelText,
) -> TranslationTrainer:
    """The Trainer, with its average and early stopping."""
    learner = TranslationLearner(network, settings.label_smoothing)
    interval = max(1, round(len(batches) / settings.evaluations))
    arguments = TrainingArguments(
        output_dir=settings.output,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=1,  # an item is a batch
        learning_rate=settings.rate,
        adam_beta2=0.98,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        bf16=not settings.fp32 and is_bfloat16_fast(),
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=interval,
        save_steps=interval,
        save_total_limit=2,
        logging_steps=min(20, interval),
        metric_for_best_model="bleu",
        greater_is_better=True,
        report_to=[],
        remove_unused_columns=False,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        restore_callback_states_from_checkpoint=True,
        logging_nan_inf_filter=False,  # a loss that is not a number is an error here
    )
    learner.to(arguments.device)
    trainer = TranslationTrainer(
        learner,
        arguments,
        train_dataset=batches,
        eval_dataset=[],  # which the Trainer asks for; `evaluate` has `dev`
        data_collator=collate_pairs,
        average=WeightAverage(learner, settings.average),
        dev=dev,
    )
    trainer.add_callback(EarlyStoppingCallback(settings.patience))
    return trainer


@report_errors
def main(arguments: list[str] | None = None) -> int:
    train(parse_settings(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
