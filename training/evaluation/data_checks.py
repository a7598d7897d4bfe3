"""Checks of captioned photos before a run is spent on them.

Every photo and caption is read once. What would waste a run stops it; the rest is a warning.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from model.corpora.ptb_tokenizer import tokenize
from model.errors import ImageError
from model.images import SUFFIXES, load_image
from model.network.network import Network
from model.network.tokenizer import as_sentence
from training.data import SPLITS, CaptionedImage
from training.evaluation.metrics import can_cider_rise, drop_wordless

MAX_LOST = 0.05  # fraction of a split's photos; more is a mistake rather than bad luck
FREQUENT = 0.1  # fraction of the captions; what applies to more of them is reported
MIN_DEV_PHOTOS = 10  # the score of fewer is mostly luck
MIN_SIDE = 64  # pixels; an encoder sees 224, most of them interpolated for such a photo
THREADS = 4
LAST_LATIN_LETTER = 0x24F  # its code point


@dataclass(frozen=True)
class PhotoFile:
    """The result of reading a photo: why it cannot be read, or its file's digest and its size."""

    problem: str | None = None
    digest: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Findings:
    """Lines that each say what is wrong and what to do.

    stops: what would waste a run; warnings: what to know.
    """

    stops: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DataReport:
    """The result of checking captioned photos.

    Attributes:
        items: what was checked.
        readable: those of them whose photo can be read, with their captions that have words.
        lengths: words of each caption.
        vocabulary: how often each word occurs.
        stops, warnings: as in `Findings`.
    """

    items: list[CaptionedImage]
    readable: list[CaptionedImage]
    lengths: list[int]
    vocabulary: Counter[str]
    stops: list[str]
    warnings: list[str]

    def lines(self) -> Iterator[str]:
        """The report as text, line by line, warnings and stops last."""
        yield f"{'':8}{'photos':>9}{'readable':>10}{'captions':>10}"
        for split in SPLITS:
            items, readable = select_split(self.items, split), select_split(self.readable, split)
            captions = sum(len(item.captions) for item in items)
            yield f"{split:8}{len(items):9,}{len(readable):10,}{captions:10,}"
        if self.lengths:
            low, median, high, top = np.percentile(self.lengths, [0, 50, 95, 100]).astype(int)
            yield f"words per caption: {low} to {top}, half up to {median}, 95% up to {high}"
            once = sum(count == 1 for count in self.vocabulary.values())
            yield f"vocabulary: {len(self.vocabulary):,} words, {once:,} of them seen once"
        yield from (f"warning: {line}" for line in self.warnings)
        yield from (f"stop: {line}" for line in self.stops)


def check_data(
    items: Sequence[CaptionedImage],
    network: Network | None = None,
    wordless: Sequence[str] = (),
) -> DataReport:
    """Read every photo and every caption, and report what is wrong with them.

    Args:
        network: the one that is trained further, which decides how long a caption may be.
        wordless: the photo's name for each caption without words that was left out already.
    """
    items = list(items)
    files = read_photos(items)
    readable = [
        replace(item, captions=captions)
        for item, file in zip(items, files, strict=True)
        if not file.problem and (captions := drop_wordless(item.captions))
    ]
    words = [tokenize(caption) for item in items for caption in item.captions]
    dev = select_split(readable, "dev")
    findings = [
        find_empty_splits(readable),
        find_unreadable_photos(items, files),
        find_duplicate_photos(items, files),
        find_repeated_captions(items),
    ]
    warnings = [
        *warn_of_unused_photos(items),
        *warn_of_small_photos(items, files),
        *warn_of_few_dev_photos(dev),
        *warn_of_single_captions(items),
        *warn_of_wordless_captions(items, wordless),
        *warn_of_writing(items),
        *warn_of_long_captions(items, network),
    ]
    return DataReport(
        items=items,
        readable=readable,
        lengths=[len(caption) for caption in words],
        vocabulary=Counter(word for caption in words for word in caption),
        stops=[line for finding in findings for line in finding.stops],
        warnings=[line for finding in findings for line in finding.warnings] + warnings,
    )


def select_split(items: Iterable[CaptionedImage], split: str) -> list[CaptionedImage]:
    """The items of one split."""
    return [item for item in items if item.split == split]


def read_photos(items: list[CaptionedImage]) -> list[PhotoFile]:
    """Read the photo of each item, in several threads."""
    with ThreadPoolExecutor(THREADS) as pool:  # Pillow decodes without Python's lock
        return list(tqdm(pool.map(_read_photo, items), "reading photos", len(items), leave=False))


def _read_photo(item: CaptionedImage) -> PhotoFile:
    if not item.path.is_file():
        return PhotoFile(f"{item.path}: missing")
    try:
        size = load_image(item.path).size
        return PhotoFile(None, hashlib.sha256(item.path.read_bytes()).hexdigest(), size)
    except (ImageError, OSError) as error:
        return PhotoFile(str(error))


# --- what may stop a run -------------------------------------------------------------------------


def find_empty_splits(readable: list[CaptionedImage]) -> Findings:
    """Splits that a run needs and that have no photos."""
    return Findings(
        stops=[
            f"no {split} photos; add some, or assign them to the split (docs/training.md)"
            for split in ("train", "dev")
            if not select_split(readable, split)
        ]
    )


def find_unreadable_photos(items: list[CaptionedImage], files: list[PhotoFile]) -> Findings:
    """Photos that are missing or cannot be read."""
    findings = Findings()
    for split in SPLITS:
        problems = [
            file.problem
            for item, file in zip(items, files, strict=True)
            if item.split == split and file.problem
        ]
        count = len(select_split(items, split))
        summary = f"{split} photos missing or unreadable: {len(problems)} of {count}"
        if len(problems) > MAX_LOST * count:
            examples = list_examples(problems, "; ")
            findings.stops.append(f"{summary}; check where the photos are: {examples}")
        elif problems:
            findings.warnings.append(f"{summary}, left out: {list_examples(problems, '; ')}")
    return findings


def find_duplicate_photos(items: list[CaptionedImage], files: list[PhotoFile]) -> Findings:
    """Photos whose files have the same bytes."""
    copies_by_digest = defaultdict(list)
    for item, file in zip(items, files, strict=True):
        if file.digest:
            copies_by_digest[file.digest].append(item)
    across_splits, within_split = [], []
    for copies in copies_by_digest.values():
        if len(copies) > 1:
            names = " = ".join(f"{item.name} ({item.split})" for item in copies)
            splits = {item.split for item in copies}
            (across_splits if len(splits) > 1 else within_split).append(names)
    findings = Findings()
    if across_splits:
        examples = list_examples(across_splits)
        findings.stops.append(
            f"photos in two splits: {len(across_splits)}; keep one of each: {examples}"
        )
    if within_split:
        examples = list_examples(within_split)
        findings.warnings.append(
            f"photos in a split more than once: {len(within_split)}: {examples}"
        )
    return findings


def find_repeated_captions(items: list[CaptionedImage]) -> Findings:
    """Train captions that many photos share."""
    train = select_split(items, "train")
    counts = Counter(caption for item in train for caption in item.captions)
    for caption, count in counts.most_common(1):
        if len(counts) == 1 and len(train) > 1:
            return Findings(
                stops=[f"all train captions are {quote(caption)}; nothing can be learned"]
            )
        if count > max(1, FREQUENT * counts.total()):
            share = f"{count / counts.total():.0%}"
            line = f"{share} of the train captions are {quote(caption)}: it will be learned"
            return Findings(warnings=[line])
    return Findings()


# --- warnings ------------------------------------------------------------------------------------


def warn_of_unused_photos(items: list[CaptionedImage]) -> Iterator[str]:
    """Photos that lie beside those with captions."""
    used = {str(item.path) for item in items}
    unused = []
    for folder in sorted({item.path.parent for item in items if item.path.parent.is_dir()}):
        with os.scandir(folder) as entries:
            unused += sorted(
                entry.path
                for entry in entries
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.path not in used
            )
    if unused:
        names = list_examples([os.path.basename(path) for path in unused])
        yield f"photos without captions or in no split: {len(unused)}, left out: {names}"


def warn_of_small_photos(items: list[CaptionedImage], files: list[PhotoFile]) -> Iterator[str]:
    """Photos with a short side of few pixels."""
    small = [
        f"{item.name} ({file.size[0]} × {file.size[1]})"
        for item, file in zip(items, files, strict=True)
        if not file.problem and min(file.size) < MIN_SIDE
    ]
    if small:
        yield f"photos with a side below {MIN_SIDE} pixels: {len(small)}: {list_examples(small)}"


def warn_of_few_dev_photos(dev: list[CaptionedImage]) -> Iterator[str]:
    """Dev photos that can hardly choose the best checkpoint, or not by CIDEr."""
    advice = "add more, or assign them to the split (docs/training.md): a tenth of all is usual"
    if dev and not can_cider_rise({item.name: item.captions for item in dev}):
        yield (
            f"dev photos: {len(dev)}, with nothing in their captions to tell them apart: dev CIDEr "
            f"will be 0, and the dev loss chooses the best checkpoint; {advice}"
        )
    elif 0 < len(dev) < MIN_DEV_PHOTOS:
        yield f"dev photos: {len(dev)}, too few to choose the best checkpoint by; {advice}"


def warn_of_single_captions(items: list[CaptionedImage]) -> Iterator[str]:
    """Dev photos with one caption each."""
    dev = select_split(items, "dev")
    single = sum(len(item.captions) == 1 for item in dev)
    if single > len(dev) / 2:
        yield (
            f"dev photos with one caption: {single} of {len(dev)}; their CIDEr is not comparable "
            "with that of photos with five"
        )


def warn_of_wordless_captions(
    items: list[CaptionedImage], left_out_before: Sequence[str]
) -> Iterator[str]:
    """Captions without words; `left_out_before`: the photos' names of earlier ones."""
    names = [
        *left_out_before,
        *(item.name for item in items for caption in item.captions if not tokenize(caption)),
    ]
    if names:
        examples = list_examples(list(dict.fromkeys(names)))
        yield f"captions without words: {len(names)}, left out, of {examples}"


def warn_of_writing(items: list[CaptionedImage]) -> Iterator[str]:
    """Captions in capitals, or in a script that the metrics and the tokenizer do not suit."""
    captions = [caption for item in items for caption in item.captions]
    if sum(map(str.isupper, captions)) > FREQUENT * len(captions):
        yield "many captions are in capitals, and new ones will be, too; use small letters"
    if sum(map(is_not_latin, captions)) > FREQUENT * len(captions):
        yield (
            "many captions are in other than Latin letters: the metrics split words at spaces, "
            "and the shipped tokenizer needs several tokens a letter; train a new one"
        )


def is_not_latin(caption: str) -> bool:
    """Whether most letters of a caption are of another script."""
    letters = [ord(letter) > LAST_LATIN_LETTER for letter in caption if letter.isalpha()]
    return sum(letters) > len(letters) / 2


def warn_of_long_captions(items: list[CaptionedImage], network: Network | None) -> Iterator[str]:
    """Captions with more tokens than the decoder reads."""
    if network is None:
        return
    max_tokens = network.config.max_length - 1  # without the start token
    captions = [caption for item in items for caption in item.captions]
    encode = network.tokenizer.encode
    too_long = [text for text in captions if len(encode(as_sentence(text))[0]) > max_tokens]
    if too_long:
        yield (
            f"captions longer than the {max_tokens} tokens that the decoder reads: "
            f"{len(too_long)}; they lose their end: {quote(too_long[0])}"
        )


def list_examples(values: Sequence[str], separator: str = ", ", limit: int = 3) -> str:
    """The first values, and how many more there are."""
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return separator.join(values[:limit]) + more


def quote(caption: str) -> str:
    """A caption in quotation marks, cut to 80 characters."""
    text = " ".join(caption.split())
    return f'"{text[:77]}…"' if len(text) > 80 else f'"{text}"'
