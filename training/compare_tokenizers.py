"""Compare our word tokenizer with the Java one that it replaces: identical words, identical scores.

`python -m training.compare_tokenizers --data DIR --split dev` (needs Java).
"""

import argparse
import sys

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from model.corpora.ptb_tokenizer import tokenize
from model.error_reporting import report_errors
from model.errors import RunError
from training.data import read_split
from training.evaluation.metrics import can_run_java
from training.options import HelpFormatter, add_data_options, add_split_option

MAX_SHOWN = 10  # captions that differ


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.compare_tokenizers",
        description="Count the captions that our tokenizer and Java's split into the same words.",
        formatter_class=HelpFormatter,
    )
    add_data_options(parser)
    add_split_option(parser)
    settings = parser.parse_args(arguments)
    if not can_run_java():
        raise RunError("no working java found; install one (Debian: default-jre-headless)")
    items = read_split(settings.data, settings.split, settings.format)
    captions = {item.name: [{"caption": caption} for caption in item.captions] for item in items}
    java_words = PTBTokenizer().tokenize(captions)
    comparisons = [
        (caption, " ".join(tokenize(caption)), java.strip())
        for item in items
        for caption, java in zip(item.captions, java_words[item.name], strict=True)
    ]
    different = [(caption, ours, java) for caption, ours, java in comparisons if ours != java]
    num_equal = len(comparisons) - len(different)
    print(f"{num_equal} of {len(comparisons)} captions have identical words")
    for caption, ours, java in different[:MAX_SHOWN]:
        print(f"  {caption}\n    ours {ours}\n    java {java}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
