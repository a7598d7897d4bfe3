"""Look at captioned photos before a run is spent on them: `python -m training.check DIR`.

Everything is read once. What would waste a run is a stop; what one should know is a warning.
"""

import argparse
import hashlib
import os
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from model import Captioner, load
from model.error_reporting import report_errors
from model.errors import ImageError, OptionError
from model.images import SUFFIXES, fit, load_image
from model.network.tokenizer import as_sentence
from model.output_path import check_output_file
from training.data import (
    CACHE,
    DATA_HELP,
    FORMAT_HELP,
    FORMATS,
    SPLITS,
    CaptionedImage,
    read_corpus,
)
from training.data.ptb_tokenizer import tokenize
from training.evaluation.metrics import can_cider_rise, drop_wordless

MOST_LOST = 0.05  # of a split's photos; more of them is a mistake rather than bad luck
OFTEN = 0.1  # of the captions: what applies to more of them is told
FEW = 10  # dev photos; the score of fewer is mostly luck
SMALL = 64  # pixels; an encoder sees 224, so such a photo is mostly made up
THREADS = 4
LATIN = 0x24F  # the last code of the Latin letters
LONGEST = 500  # letters of a caption that are drawn
TEXT_LINES = 12  # beneath a photo, its name the first


@dataclass(frozen=True)
class Photo:
    """What reading a photo gave: why it cannot be read, or its file's digest and its size."""

    problem: str | None = None
    digest: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Report:
    """What an inspection found.

    items: what was inspected; readable: those of them whose photo can be read, with their captions
        that have words.
    lengths: words of each caption; vocabulary: how often each word stands in them.
    stops: what would waste a run; warnings: what to know. Each is a line that says what to do.
    """

    items: list[CaptionedImage]
    readable: list[CaptionedImage]
    lengths: list[int]
    vocabulary: Counter[str]
    stops: list[str]
    warnings: list[str]

    def lines(self) -> Iterator[str]:
        """The report in lines, warnings and stops last."""
        yield f"{'':8}{'photos':>9}{'readable':>10}{'captions':>10}"
        for split in SPLITS:
            items, readable = _of(split, self.items), _of(split, self.readable)
            captions = sum(len(item.captions) for item in items)
            yield f"{split:8}{len(items):9,}{len(readable):10,}{captions:10,}"
        if self.lengths:
            low, middle, most, high = np.percentile(self.lengths, [0, 50, 95, 100]).astype(int)
            yield f"words a caption: {low} to {high}, half up to {middle}, 95 % up to {most}"
            once = sum(count == 1 for count in self.vocabulary.values())
            yield f"vocabulary: {len(self.vocabulary):,} words, {once:,} of them seen once"
        yield from (f"warning: {line}" for line in self.warnings)
        yield from (f"stop: {line}" for line in self.stops)


def check_data(
    items: Sequence[CaptionedImage],
    captioner: Captioner | None = None,
    wordless: Sequence[str] = (),
) -> Report:
    """Read every photo and every caption.

    captioner: the one that training goes on from, which tells how long a caption may be.
    wordless: the photo's name for each caption without words that was left out already.
    """
    items = list(items)
    photos = _read_photos(items)
    readable = [
        replace(item, captions=captions)
        for item, photo in zip(items, photos, strict=True)
        if not photo.problem and (captions := drop_wordless(item.captions))
    ]
    wordless = [*wordless, *(i.name for i in items for c in i.captions if not tokenize(c))]
    words = [tokenize(caption) for item in items for caption in item.captions]
    stops, warnings = [], []
    for split in ("train", "dev"):
        if not _of(split, readable):
            stops.append(f"no {split} photos; add some, or say which are (docs/training.md)")
    for found in (_lost(items, photos), _copies(items, photos), _same_captions(items)):
        stops += found[0]
        warnings += found[1]
    warnings += [
        *_unused(items),
        *_small(items, photos),
        *warn_of_few_dev_photos(_of("dev", readable)),
        *_single_captions(items),
        *_wordless_captions(wordless),
        *_hard_to_learn(items),
        *_too_long(items, captioner),
    ]
    vocabulary = Counter(word for said in words for word in said)
    return Report(items, readable, [len(said) for said in words], vocabulary, stops, warnings)


def _read_photos(items: list[CaptionedImage]) -> list[Photo]:
    with ThreadPoolExecutor(THREADS) as pool:  # Pillow decodes without Python's lock
        return list(tqdm(pool.map(_read, items), "reading photos", len(items), leave=False))


def _read(item: CaptionedImage) -> Photo:
    if not item.path.is_file():
        return Photo(f"{item.path}: missing")
    try:
        size = load_image(item.path).size
        return Photo(None, hashlib.sha256(item.path.read_bytes()).hexdigest(), size)
    except (ImageError, OSError) as error:
        return Photo(str(error))


# --- checks: each gives lines, those that may stop a run (stops, warnings) -----------------------


def _lost(items: list[CaptionedImage], photos: list[Photo]) -> tuple[list[str], list[str]]:
    """Photos that are missing or cannot be read."""
    stops, warnings = [], []
    for split in SPLITS:
        problems = [
            photo.problem
            for item, photo in zip(items, photos, strict=True)
            if item.split == split and photo.problem
        ]
        count = len(_of(split, items))
        told = f"{split} photos missing or unreadable: {len(problems)} of {count}"
        if len(problems) > MOST_LOST * count:
            stops.append(f"{told}; check where the photos are: {_some(problems, '; ')}")
        elif problems:
            warnings.append(f"{told}, left out: {_some(problems, '; ')}")
    return stops, warnings


def _copies(items: list[CaptionedImage], photos: list[Photo]) -> tuple[list[str], list[str]]:
    """Photos that are there more than once, by their files' bytes."""
    same = defaultdict(list)
    for item, photo in zip(items, photos, strict=True):
        if photo.digest:
            same[photo.digest].append(item)
    across, within = [], []
    for copies in same.values():
        if len(copies) > 1:
            named = " = ".join(f"{item.name} ({item.split})" for item in copies)
            (across if len({item.split for item in copies}) > 1 else within).append(named)
    stops, warnings = [], []
    if across:
        stops.append(f"photos in two splits: {len(across)}; keep one of each: {_some(across)}")
    if within:
        warnings.append(f"photos in a split more than once: {len(within)}: {_some(within)}")
    return stops, warnings


def _same_captions(items: list[CaptionedImage]) -> tuple[list[str], list[str]]:
    """Train captions that say the same about many photos."""
    train = _of("train", items)
    said = Counter(caption for item in train for caption in item.captions)
    if len(said) == 1 and len(train) > 1:
        return [f"all train captions are {_quoted(next(iter(said)))}; nothing can be learned"], []
    for caption, count in said.most_common(1):
        if count > max(1, OFTEN * said.total()):
            share = f"{count / said.total():.0%}"
            return [], [f"{share} of the train captions are {_quoted(caption)}: it will learn that"]
    return [], []


def _unused(items: list[CaptionedImage]) -> Iterator[str]:
    """Photos that lie beside those with captions."""
    used = {str(item.path) for item in items}
    beside = []
    for folder in sorted({item.path.parent for item in items if item.path.parent.is_dir()}):
        with os.scandir(folder) as entries:
            beside += sorted(
                entry.path
                for entry in entries
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.path not in used
            )
    if beside:
        names = _some([os.path.basename(path) for path in beside])
        yield f"photos without captions or in no split: {len(beside)}, left out: {names}"


def _small(items: list[CaptionedImage], photos: list[Photo]) -> Iterator[str]:
    small = [
        f"{item.name} ({photo.size[0]} × {photo.size[1]})"
        for item, photo in zip(items, photos, strict=True)
        if not photo.problem and min(photo.size) < SMALL
    ]
    if small:
        yield f"photos with a side below {SMALL} pixels: {len(small)}: {_some(small)}"


def warn_of_few_dev_photos(dev: list[CaptionedImage]) -> Iterator[str]:
    """Dev photos by which the best checkpoint can hardly be told, or not by CIDEr."""
    advice = "add more, or say which are (docs/training.md): a tenth of all photos is usual"
    if dev and not can_cider_rise({item.name: item.captions for item in dev}):
        yield (
            f"dev photos: {len(dev)}, with nothing in their captions to tell them apart: dev CIDEr "
            f"will be 0, and the dev loss chooses the best checkpoint; {advice}"
        )
    elif 0 < len(dev) < FEW:
        yield f"dev photos: {len(dev)}, too few to choose the best checkpoint by; {advice}"


def _wordless_captions(names: list[str]) -> Iterator[str]:
    if names:
        yield (
            f"captions without words: {len(names)}, left out, of "
            f"{_some(list(dict.fromkeys(names)))}"
        )


def _single_captions(items: list[CaptionedImage]) -> Iterator[str]:
    dev = _of("dev", items)
    single = sum(len(item.captions) == 1 for item in dev)
    if single > len(dev) / 2:
        yield (
            f"dev photos with one caption: {single} of {len(dev)}; their CIDEr is not comparable "
            "with that of photos with five"
        )


def _hard_to_learn(items: list[CaptionedImage]) -> Iterator[str]:
    """How captions are written."""
    captions = [caption for item in items for caption in item.captions]
    if sum(map(str.isupper, captions)) > OFTEN * len(captions):
        yield "many captions are in capitals, and so will be what is learned; use small letters"
    if sum(map(_is_foreign, captions)) > OFTEN * len(captions):
        yield (
            "many captions are in other than Latin letters: the metrics split words at spaces, "
            "and the shipped tokenizer needs several tokens a letter; train a new one"
        )


def _is_foreign(caption: str) -> bool:
    letters = [ord(letter) > LATIN for letter in caption if letter.isalpha()]
    return sum(letters) > len(letters) / 2


def _too_long(items: list[CaptionedImage], captioner: Captioner | None) -> Iterator[str]:
    if captioner is None:
        return
    captions = [caption for item in items for caption in item.captions]
    holds = captioner.config.max_length - 1  # the start token takes one place
    encode = captioner.tokenizer.encode
    long = [c for c in captions if len(encode(as_sentence(c))[0]) > holds]
    if long:
        yield (
            f"captions longer than the {holds} tokens that the decoder holds: {len(long)}; they "
            f"lose their end: {_quoted(long[0])}"
        )


def _of(split: str, items: Iterable[CaptionedImage]) -> list[CaptionedImage]:
    return [item for item in items if item.split == split]


def _some(told: Sequence[str], between: str = ", ", most: int = 3) -> str:
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return between.join(told[:most]) + more


def _quoted(caption: str) -> str:
    text = " ".join(caption.split())
    return f'"{text[:77]}…"' if len(text) > 80 else f'"{text}"'


# --- a look at some ------------------------------------------------------------------------------


def sheet(items: Sequence[CaptionedImage], columns: int = 4, side: int = 224) -> Image.Image:
    """A row of photos a split, from all over it, with their names and captions beneath.

    items: photos that can be read. side: pixels of a photo's longer side.
    """
    font, small = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
    gap, line = 12, 16
    rows = []
    for split in SPLITS:
        found = _of(split, items)
        spread = np.linspace(0, len(found) - 1, min(columns, len(found))).astype(int)
        cells = [_cell(found[index], side, font, small) for index in spread]
        if cells:
            height = max(photo.height + len(text) * line for photo, text in cells)
            rows.append((f"{split}, {len(found):,} photos", cells, height + 2 * line + gap))
    total = sum(height for _, _, height in rows)
    picture = Image.new("RGB", (columns * (side + gap) + gap, total + gap), "white")
    draw = ImageDraw.Draw(picture)
    top = gap
    for heading, cells, height in rows:
        draw.text((gap, top), heading, "black", font)
        for column, (photo, text) in enumerate(cells):
            x, y = gap + column * (side + gap), top + line + 4
            picture.paste(photo, (x, y))
            for n, (words, colour, style) in enumerate(text):
                draw.text((x, y + photo.height + 2 + n * line), words, colour, style)
        top += height
    return picture


def _cell(item: CaptionedImage, side: int, font, small) -> tuple[Image.Image, list[tuple]]:
    """A photo, and the lines beneath it: its name and as many captions as have room."""
    text = [(wrap(item.name, side, small)[0], (90, 90, 90), small)]
    for caption in item.captions:
        said = wrap(f"· {caption}", side, font)
        if len(text) + len(said) <= TEXT_LINES or len(text) == 1:
            text += [(words, "black", font) for words in said]
    return fit(load_image(item.path), side), text[:TEXT_LINES]


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """The text in lines that fit; what has no spaces is cut where it must be."""
    for most in range(width, 0, -1):  # letters a line
        lines = textwrap.wrap(text[:LONGEST], most)
        if all(font.getlength(line) <= width for line in lines):
            break
    return lines


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.check",
        description="Read captioned photos and say what is in them, and what would waste a run.",
    )
    add = parser.add_argument
    add("data", metavar="DIR", help=DATA_HELP)
    add("--format", choices=FORMATS, help=FORMAT_HELP)
    add("--checkpoint", help="captioner to go on from: finds captions that it cannot hold")
    add("--cache", default=CACHE, help="folder where the photos of a hub dataset are written")
    add("--output", metavar="SHEET.png", help="draw some photos of each split with their captions")
    settings = parser.parse_args(arguments)
    if settings.output:
        check_output_file(settings.output)
        suffix = Path(settings.output).suffix.lower()
        if Image.registered_extensions().get(suffix) not in Image.SAVE:
            raise OptionError(f"--output {settings.output}: give a name that ends in .png")
    corpus = read_corpus(settings.data, settings.format, settings.cache)
    captioner = load(settings.checkpoint) if settings.checkpoint else None
    report = check_data(corpus.items, captioner, corpus.wordless)
    print(f"{settings.data}: {corpus.format}, {corpus.splits_from}")
    print("\n".join(report.lines()))
    if settings.output:
        sheet(report.readable).save(settings.output)
    return 1 if report.stops else 0


if __name__ == "__main__":
    sys.exit(main())
