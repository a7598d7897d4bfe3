"""The examples: the captioner says of each what is recorded, and a failure is labelled."""

import json

from model import load
from ui.uploads.photos import EXAMPLES, EXAMPLES_FOLDER, FAILURE

CAPTIONS = json.loads((EXAMPLES_FOLDER / "captions.json").read_text(encoding="utf-8"))
# what a right caption must name
SUBJECTS = {"photographer": "man", "cat": "cat", "scissors": "scissors"}


def test_the_examples_are_captioned_as_recorded():
    captioner = load()
    for path in EXAMPLES:
        message = "run `python -m tools.make_opening`"
        assert captioner.caption(path).text == CAPTIONS[path.name], message


def test_captions_are_right_or_labelled():
    for path in EXAMPLES:
        if path.stem != FAILURE:
            assert SUBJECTS[path.stem] in CAPTIONS[path.name].lower().strip(".").split()
