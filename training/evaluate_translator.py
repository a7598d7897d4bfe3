"""Score a translator: `python -m training.evaluate_translator --data test.en test.de
--translator FOLDER`."""

import argparse
import json
import sys
from pathlib import Path

from model.error_reporting import report_errors
from model.errors import OptionError
from model.output_path import check_output_file
from model.translation import load_translator
from training.options import HelpFormatter
from training.translation.pairs import FILES_HELP, check_sources, read_parallel_text
from training.translation.scores import describe_scores


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate_translator",
        description="Score a translator by sacrebleu's BLEU and chrF.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, nargs="+", metavar="FILE", help=FILES_HELP)
    add("--translator", metavar="FOLDER", help="its folder (default: the shipped one)")
    add("--num-beams", type=int, default=5, help="beams of the search")
    add("--output", metavar="FILE.json", help="write scores and translations to this file")
    settings = parser.parse_args(arguments)
    if settings.output:
        check_output_file(settings.output)
    text = read_parallel_text(settings.data)
    translator = load_translator(settings.translator)
    for language in text.targets:
        translator.check_language(language)
    if settings.num_beams < 1:
        raise OptionError(f"--num-beams: must be at least 1, not {settings.num_beams}")
    check_sources(text, translator)
    result = {}
    for language in text.targets:
        sources = text.sentences[text.source]
        translations = translator.translate_all(sources, language, num_beams=settings.num_beams)
        texts = [translation.text for translation in translations]
        scores = describe_scores(texts, text.sentences[language])
        result[language] = {**scores, "translations": texts}
        print(f"{language}: BLEU {scores['bleu']:.1f}, chrF {scores['chrf']:.1f}")
        print(f"    {scores['bleu_signature']}\n    {scores['chrf_signature']}")
    if settings.output:
        content = json.dumps(result, ensure_ascii=False, indent=1) + "\n"
        Path(settings.output).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
