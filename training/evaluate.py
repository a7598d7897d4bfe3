"""Score a captioner: `python -m training.evaluate --data DIR --split dev`.

Beside each score stands that of the same decoder without the photos, see
`training/evaluation/captioning.py`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from model import load
from model.captioner import choose_device
from model.corpora.formats.flickr import read_token_file
from model.corpora.text import check_file
from model.error_reporting import report_errors
from model.errors import OptionError
from model.memory import Memory
from model.output_path import check_output_file
from model.translation import load_translator
from training.data import read_split
from training.evaluation.captioning import evaluate_network
from training.evaluation.translated import evaluate_translations
from training.options import (
    NOT_NEGATIVE,
    HelpFormatter,
    add_checkpoint_option,
    add_data_options,
    add_split_option,
)


def print_scores(result: dict) -> None:
    """Print the scores as a table, and the counts beneath it."""
    print(f"{result['split']} split, {result['num_images']} images, {result['checkpoint']}")
    if unscored := result["unscored"]:
        print(f"left out, as no reference has words in it: {', '.join(unscored)}")
    columns = {"score": result, "no image": result["no_image"]}
    if borrowed := result.get("with_memory"):
        columns = {"score": result, "with memory": borrowed, "no image": result["no_image"]}
    print(f"{'':10}" + "".join(f"{heading:>13}" for heading in columns))
    for name in result["made_with"]:
        print(f"{name:10}" + "".join(f"{points[name]:13.1f}" for points in columns.values()))
    if borrowed:
        print(
            f"{borrowed['num_remembered']} photos remembered, of which "
            f"{borrowed['num_left_out']} are in this split and were not looked at"
        )
    if translated := result.get("translated"):
        points = ", ".join(f"{name} {translated[name]:.1f}" for name in translated["made_with"])
        print(f"translated, {translated['language']}, {translated['num_images']} images: {points}")
    people = result["people"]
    print(
        f"{result['distinct_captions']} distinct captions from {result['distinct_words']} words, "
        f"{result['seconds']:.0f} s"
    )
    print(f"{result['repeating']} repeat a pair of words (people: {people['repeating']})")
    print(f"{result['breaking_off']} break off (people: {people['breaking_off']})")
    for name in ("colours", "numbers"):
        num_right, num_words = result[name]
        print(f"{name}: {num_right} of {num_words} are in a reference too")


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Score a captioner's captions against those that people wrote.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add_data_options(parser)
    add_split_option(parser)
    add_checkpoint_option(parser)
    add("--output", metavar="FILE.json", help="write scores and captions to this file")
    add("--num-beams", type=int, help="beams of the search (default: the checkpoint's)")
    add("--length-penalty", type=float, help="of the beam search (default: the checkpoint's)")
    add(
        "--memory",
        metavar="FOLDER",
        help="also score captions that may borrow from this memory (python -m model remember), in "
        "which the split's own photos are passed over",
    )
    add(
        "--language",
        metavar="CODE",
        help="also translate the captions into this language, such as de, and score them against "
        "--references",
    )
    add(
        "--references",
        metavar="FILE",
        help="captions in that language: name.jpg#0, a tab, and a caption a line",
    )
    add("--translator", metavar="FOLDER", help="its folder (default: the shipped one)")
    add("--limit", type=int, default=0, help="use only the first LIMIT photos; 0 for all")
    settings = parser.parse_args(arguments)
    NOT_NEGATIVE.check("--limit", settings.limit)
    if settings.output:
        check_output_file(settings.output)
    if (settings.language is None) != (settings.references is None):
        raise OptionError("--language and --references need each other")
    if settings.language is not None:
        translator = load_translator(settings.translator)
        translator.check_language(settings.language)
        check_file(settings.references)
        references = read_token_file(Path(settings.references))
    options = {
        name: value
        for name in ("num_beams", "length_penalty")
        if (value := getattr(settings, name)) is not None
    }
    items = read_split(settings.data, settings.split, settings.format)[: settings.limit or None]
    memory = None if settings.memory is None else Memory.load(settings.memory)
    captioner = load(settings.checkpoint).to(choose_device())
    if memory is not None:
        memory.check_captioner(captioner.network, captioner.name)
    result = {
        "checkpoint": captioner.name,
        **({} if memory is None else {"memory": settings.memory}),
        "data": Path(settings.data).name,
        "split": settings.split,
        "decoding": asdict(captioner.options(**options)),
        **evaluate_network(captioner.network, items, memory, **options),
    }
    if settings.language is not None:
        result["translated"] = evaluate_translations(
            result["captions"], references, translator, settings.language
        )
    print_scores(result)
    if settings.output:
        text = json.dumps(result, indent=2, ensure_ascii=False)
        Path(settings.output).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return 0


if __name__ == "__main__":
    sys.exit(main())
