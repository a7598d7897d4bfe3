"""`python -m tools.make_opening`: the result that the page opens with, and the examples' captions.

To be run whenever the shipped checkpoint or the example photos change. It writes
`assets/examples/opening.json` (what the lens shows) and `assets/examples/captions.json`.
"""

import json

from model import load
from model.images import find_images, load_image
from tools.serving import ROOT
from ui.tabs.caption import OPENING_PHOTO, write_caption

FOLDER = ROOT / "assets" / "examples"


def main() -> None:
    captioner = load()
    captions = {path.name: captioner.caption(path).text for path in find_images(FOLDER)}
    *_, value = write_caption(captioner, load_image(OPENING_PHOTO))
    _write("captions.json", captions)
    _write("opening.json", value)


def _write(name: str, content: object) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (FOLDER / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
