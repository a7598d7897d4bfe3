"""How often our tokenizer and the Java one it stands for agree: identical words, identical scores.

`python -m training.compare_tokenizers --data DIR --split dev` (needs Java).
"""

import argparse
import sys

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from model.error_reporting import report_errors
from model.errors import DataError
from training.data import DATA_HELP, FORMAT_HELP, FORMATS, SPLITS, read_split
from training.data.ptb_tokenizer import tokenize
from training.evaluation.metrics import java_works


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.compare_tokenizers",
        description="Count the captions that our tokenizer and Java's split into the same words.",
    )
    parser.add_argument("--data", required=True, help=DATA_HELP)
    parser.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    parser.add_argument("--split", default="dev", choices=SPLITS)
    settings = parser.parse_args(arguments)
    if not java_works():
        raise DataError("no working java found; install one (Debian: default-jre-headless)")
    items = read_split(settings.data, settings.split, settings.format)
    captions = {item.name: [{"caption": caption} for caption in item.captions] for item in items}
    theirs = PTBTokenizer().tokenize(captions)
    pairs = [
        (caption, " ".join(tokenize(caption)), java)
        for item in items
        for caption, java in zip(item.captions, theirs[item.name], strict=True)
    ]
    different = [pair for pair in pairs if pair[1] != pair[2].strip()]
    print(f"{len(pairs) - len(different)} of {len(pairs)} captions have identical words")
    for caption, ours, java in different[:10]:
        print(f"  {caption}\n    ours {ours}\n    java {java}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
