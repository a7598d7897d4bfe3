"""`python -m model translate`: sentences in another language, and what each word looked at."""

import argparse
import json
import sys
from pathlib import Path

from model.commands.inputs import add_translator_option
from model.error_reporting import print_error
from model.errors import OptionError
from model.output.records import make_translation_record
from model.output_path import check_output_file
from model.translation import load_translator
from model.wording import UNFAMILIAR_SENTENCE

HELP = "translate captions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "sentences",
        metavar="SENTENCE",
        nargs="*",
        help="sentence to translate (default: the lines of standard input)",
    )
    add("--to", required=True, metavar="LANGUAGE", help="code of the language, such as de")
    add_translator_option(parser)
    add("--num-beams", type=int, metavar="N", help="beams of the search (default: 5)")
    add(
        "--output",
        metavar="FILE.json",
        help="also write words, probabilities and alignments to this file",
    )


def run(settings: argparse.Namespace) -> int:
    """Print each sentence's translation; one that cannot be translated does not stop the rest."""
    if settings.output:
        check_output_file(settings.output)
    translator = load_translator(settings.translator)
    translator.check_language(settings.to)
    options = {} if settings.num_beams is None else {"num_beams": settings.num_beams}
    translator.choose_options(**options)
    sentences = settings.sentences or (line.rstrip("\n") for line in sys.stdin if line.strip())
    records, status = [], 0
    for sentence in sentences:
        try:
            translator.read_sentence(sentence)
        except OptionError as error:
            print_error(f"{sentence[:40]!r}: {error}")
            status = 1
            continue
        translation = translator.translate(sentence, settings.to, **options)
        print(translation.text, flush=True)
        if translation.is_unfamiliar:
            print(f"note: {sentence[:40]!r}: {UNFAMILIAR_SENTENCE}", file=sys.stderr)
        if settings.output:
            records.append(make_translation_record(translation))
    if settings.output:
        content = json.dumps(records, ensure_ascii=False, indent=1) + "\n"
        Path(settings.output).write_text(content, encoding="utf-8")
    return status
