"""Let a translator say what its words looked at, and which sentences are unlike those it knows:
`python -m training.calibrate_translator --data val.en val.de --translator FOLDER`.

Run it again whenever the weights in the folder are replaced. It measures with sentences of --data,
and writes its choices into the folder's `config.json`.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np

from model.error_reporting import report_errors
from model.errors import DataError
from model.output_path import check_output_file
from model.translation import Translation, Translator, load_translator
from training.options import COUNT, HelpFormatter, add_number_options, check_numbers
from training.translation.alignments import (
    DIAGONAL,
    HIGHEST,
    RANDOM,
    Heads,
    list_heads,
    score_alignments,
)
from training.translation.pairs import FILES_HELP, read_parallel_text

UNFAMILIAR_SHARE = 0.01  # of the sentences that count as unlike those of the training
NUMBERS = {"limit": (COUNT, 200, "sentences to delete words of, drawn at random")}


def choose_alignment(translations: dict[str, list[Translation]], translator: Translator) -> Heads:
    """The layer and head whose deleted words cost most, the mean over the languages; prints all."""
    scores = {code: score_alignments(several) for code, several in translations.items()}
    if not all(scores.values()):
        raise DataError("--data: no sentence of two words")
    means = {
        way: np.mean([of[way] for of in scores.values()]) for way in next(iter(scores.values()))
    }
    best = max(list_heads(translator.network), key=lambda heads: means[heads])
    print("fall of a word's log-probability without the source word that is named first")
    print(f"  {'':20}{'mean':>8}" + "".join(f"{code:>8}" for code in scores))
    for way in (RANDOM, DIAGONAL, HIGHEST, *list_heads(translator.network)):
        numbers = "".join(f"{of[way]:8.3f}" for of in scores.values())
        print(f"  {way!s:20}{means[way]:8.3f}{numbers}{'  <- chosen' if way == best else ''}")
    return best


def find_threshold(translations: list[Translation]) -> float:
    """The mean log-probability a token that `UNFAMILIAR_SHARE` of the translations are below."""
    means = [translation.log_probability / len(translation.tokens) for translation in translations]
    return round(float(np.quantile(means, UNFAMILIAR_SHARE)), 4)


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.calibrate_translator",
        description="Choose the layer and head of a translator's alignments, and below which "
        "likelihood a sentence is unlike those that it learned from.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data", required=True, nargs="+", metavar="FILE", help=f"not the training's: {FILES_HELP}"
    )
    add("--translator", required=True, metavar="FOLDER", help="its config.json is written anew")
    add_number_options(parser, NUMBERS)
    settings = parser.parse_args(arguments)
    check_numbers(parser, settings, NUMBERS)
    text = read_parallel_text(settings.data)
    translator = load_translator(settings.translator)
    check_output_file(Path(settings.translator, "config.json"))
    for language in text.targets:
        translator.check_language(language)
    sources = random.Random(0).sample(text.sentences[text.source], text.num_lines)
    translations = {code: translator.translate_all(sources, code) for code in text.targets}
    deleted = {code: several[: settings.limit] for code, several in translations.items()}
    config = translator.network.config
    config.alignment_layer, config.alignment_head = choose_alignment(deleted, translator)
    config.unfamiliar_below |= {code: find_threshold(all_) for code, all_ in translations.items()}
    for code, threshold in config.unfamiliar_below.items():
        print(f"{code}: unlike below {threshold} a token")
    config.save(Path(settings.translator))
    return 0


if __name__ == "__main__":
    sys.exit(main())
