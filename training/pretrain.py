"""Teach a new decoder the language of captions before it sees photos:
`python -m training.pretrain --text FILE [FILE ...] --encoder NAME --output DIR`.

A language model (Bengio et al. 2003) on captions without photos, one a line: the decoder reads them
with nothing to look at. `python -m training.train --checkpoint DIR/best` then shows it photos.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import torch

from model import Captioner
from model.corpora.ptb_tokenizer import tokenize
from model.corpora.text import check_file, read_lines
from model.error_reporting import report_errors
from model.errors import DataError
from model.network.tokenizer import as_sentence
from model.output_path import check_output_folder
from training.data import read_corpora
from training.loop.checkpoints import (
    check_same_run,
    find_last_checkpoint,
    make_absolute,
    report_write_errors,
)
from training.loop.preparation import create_network
from training.loop.run_folder import BEST, DATA, SETTINGS, write_json
from training.loop.text_trainer import train_on_sentences
from training.options import (
    COUNT,
    FRACTION,
    POSITIVE,
    SEED,
    HelpFormatter,
    add_number_options,
    check_numbers,
)
from training.settings import NEW_CAPTIONER

MIN_SENTENCES = 100  # fewer teach no language
EVERY_HELD_OUT = 100  # of so many sentences one is kept to measure by


def read_sentences(texts: list[str], data: list[str]) -> list[str]:
    """The captions of text files, one a line, and of the train photos of folders, each once.

    Raises DataError for a file that cannot be read, and for too few captions.
    """
    for name in texts:
        check_file(name)
    lines = [line for name in texts for _, line in read_lines(Path(name))]
    for corpus in read_corpora(data) if data else []:
        lines += [text for item in corpus.items if item.split == "train" for text in item.captions]
    sentences = list(dict.fromkeys(as_sentence(line) for line in lines if tokenize(line)))
    if len(sentences) < MIN_SENTENCES:
        raise DataError(
            f"{', '.join(texts)}: {len(sentences)} different captions, one a line; a language "
            f"takes at least {MIN_SENTENCES}"
        )
    return sentences


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.pretrain",
        description="Teach a new decoder the language of captions before it sees photos. To resume "
        "an interrupted run, give the same command again.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--text", required=True, nargs="+", metavar="FILE", help="captions, one a line")
    add("--data", nargs="+", default=[], metavar="DIR", help="their train captions too")
    add("--encoder", required=True, help="image encoder or captioner, a folder or hub id")
    add("--output", required=True, help="run folder; the captioner is written to OUTPUT/best")
    new = NEW_CAPTIONER
    numbers = {
        "image_size": (COUNT, new["image_size"], "side of the input image in pixels"),
        "width": (COUNT, new["width"], "width of the decoder"),
        "layers": (COUNT, new["layers"], "layers of the decoder"),
        "heads": (COUNT, new["heads"], "attention heads of the decoder"),
        "vocab_size": (COUNT, new["vocab_size"], "tokens of the tokenizer, learned from the texts"),
        "dropout": (FRACTION, 0.1, "dropout in the decoder"),
        "rate": (POSITIVE, 1e-3, "peak learning rate"),
        "epochs": (POSITIVE, 5, "passes over the texts"),
        "batch_size": (COUNT, 256, "captions a step"),
        "seed": (SEED, 0, "seed of weights, order and dropout"),
    }
    add_number_options(parser, numbers)
    settings = parser.parse_args(arguments)
    check_numbers(parser, settings, numbers)
    output = Path(settings.output)
    check_output_folder(output)
    sentences = read_sentences(settings.text, settings.data)
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:16]
    summary = {"text": {"captions": len(sentences), "digest": digest}}
    record = {"encoder": make_absolute(settings.encoder)}
    record |= {name: getattr(settings, name) for name in numbers}
    last_checkpoint = None
    if (output / SETTINGS).is_file():
        check_same_run(output, record, summary)
        last_checkpoint = find_last_checkpoint(output, has_average=False)
    torch.manual_seed(settings.seed)
    network = create_network(settings, sentences)
    with report_write_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / SETTINGS, record)
        write_json(output / DATA, summary)
    held_out = sentences[::EVERY_HELD_OUT]
    learned = [text for i, text in enumerate(sentences) if i % EVERY_HELD_OUT]
    loss = train_on_sentences(
        network,
        learned,
        held_out,
        output,
        last_checkpoint,
        rate=settings.rate,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    with report_write_errors(output):
        Captioner(network).save_pretrained(output / BEST)
    print(
        f"{len(learned):,} captions; {loss:.2f} nats a token on {len(held_out):,} others; "
        f"the captioner, which has seen no photo, is in {output / BEST}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
