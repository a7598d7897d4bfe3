"""Captioned photos, whatever format they are in, and the splits they belong to."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.corpora.formats import FORMATS, flickr, hub, recognise
from model.corpora.photos import ListedPhoto
from model.corpora.ptb_tokenizer import tokenize
from model.corpora.splits import (
    SPLITS,
    check_splits,
    choose_split,
    find_split_in_folders,
    name_split,
)
from model.errors import DataError, OptionError
from model.files import suggest_similar

CACHE = "runs/cache"
DATA_HELP = "folder or hub id of captioned photos; see docs/training.md"
FORMAT_HELP = "of the data, where looking at it does not tell"


@dataclass(frozen=True)
class CaptionedImage:
    """A photo on disk, its name in the corpus, and what people wrote about it, as they wrote it.

    corpus: which of several corpora it is from, see `read_corpora`.
    """

    name: str
    path: Path
    captions: list[str]
    split: str = "train"
    corpus: str = ""


@dataclass(frozen=True)
class Corpus:
    """The photos and captions in a folder or in a dataset of the hub.

    items: the photos with captions, there or not, in the order of their names.
    without_captions: photos that the data names without a word about them.
    wordless: the photo's name for each caption that has no word in it ("", "..."); these captions
        are left out: nothing could be learned from them or scored.
    given: the splits that the data gives; the others were made.
    """

    format: str
    items: list[CaptionedImage]
    without_captions: list[CaptionedImage]
    wordless: list[str]
    given: set[str]

    @property
    def splits_from(self) -> str:
        """Where the splits come from, in words."""
        if not self.given:
            return "no splits given: the photos' names decide, 80 / 10 / 10%"
        if "train" in self.given and "dev" not in self.given:
            return "no dev split given: the photos' names choose it, a tenth of train"
        return "splits as given"


def read_corpus(data: str | Path, format: str | None = None, cache: str | Path = CACHE) -> Corpus:
    """Read a folder of captioned photos, or a dataset of the hub.

    format: one of `FORMATS`; found by looking if None.
    cache: folder where the photos of a hub dataset are written.

    Splits are those of the data: its lists or columns, or a folder `train/`, `validation/` or
    `test/` that a photo lies in. Where it has none, each photo's name decides (80 / 10 / 10%), so
    that adding photos moves none. Where it has some, photos in none are for training, and if there
    is no dev among them, the names choose a tenth of train. A test split is never used as dev.

    Raises OptionError for a format that is unknown, DataError for one that is not there or broken,
    and for a split of a name that is unknown; not for lost photos.
    """
    format = format or recognise(data)
    listed = _list_photos(data, format, cache)
    check_splits(photo.split for photo in listed)
    splits = [name_split(photo.split) or find_split_in_folders(photo.name) for photo in listed]
    given = {split for split in splits if split}
    paths: dict[tuple[str, str], Path] = {}
    captions: dict[tuple[str, str], list[str]] = defaultdict(list)
    wordless = []
    for split, photo in zip(splits, listed, strict=True):
        key = photo.name, _decide_split(split, photo.name, given)
        paths[key] = photo.path
        for caption in photo.captions:
            if tokenize(caption):
                captions[key].append(caption)
            else:
                wordless.append(photo.name)
    images = [
        CaptionedImage(name, paths[name, split], captions[name, split], split)
        for name, split in sorted(paths)
    ]
    return Corpus(
        format,
        [image for image in images if image.captions],
        [image for image in images if not image.captions],
        wordless,
        given,
    )


def read_corpora(
    data: Sequence[str], format: str | None = None, cache: str | Path = CACHE
) -> list[Corpus]:
    """As `read_corpus`, of one folder or dataset or of several.

    The photos of several know their corpus by the last part of its name (by the whole name where
    two end alike), and have it before their own names: "coco/1.jpg".

    Raises OptionError for one that is given twice.
    """
    corpora = [read_corpus(name, format, cache) for name in data]
    if len(data) == 1:
        return corpora
    names = [Path(name).name for name in data]
    if len(set(names)) < len(names):
        names = list(data)
    if len(set(names)) < len(names):
        raise OptionError("--data: the same folder twice; give each once")

    def rename(items: list[CaptionedImage], name: str) -> list[CaptionedImage]:
        return [replace(item, name=f"{name}/{item.name}", corpus=name) for item in items]

    return [
        replace(
            corpus,
            items=rename(corpus.items, name),
            without_captions=rename(corpus.without_captions, name),
            wordless=[f"{name}/{photo}" for photo in corpus.wordless],
        )
        for corpus, name in zip(corpora, names, strict=True)
    ]


def _list_photos(data: str | Path, format: str, cache: str | Path) -> list[ListedPhoto]:
    if format not in FORMATS:
        raise OptionError(f"format {format!r} is unknown; choose from {', '.join(FORMATS)}")
    if format == "hub":
        return list(hub.read(data, cache))
    folder, reader = Path(data), FORMATS[format]
    if not folder.is_dir() or not reader.find_files(folder):
        raise DataError(f"{data}: not {format}, found no {reader.LOOKS_FOR} in it")
    return list(reader.read(folder))


def _decide_split(split: str | None, name: str, given: set[str]) -> str:
    """The split of a photo for which the data says `split`, where it gives the splits `given`."""
    if not given:
        return choose_split(name)
    if split in (None, "train"):
        return "dev" if "dev" not in given and choose_split(name) == "dev" else "train"
    return split


def read_data(
    data: str | Path, format: str | None = None, cache: str | Path = CACHE
) -> list[CaptionedImage]:
    """The photos that have captions, there or not, in the order of their names."""
    return read_corpus(data, format, cache).items


def read_split(
    data: str | Path, split: str, format: str | None = None, cache: str | Path = CACHE
) -> list[CaptionedImage]:
    """The photos of one split, in the order of their names, all of them there: see `read_corpus`.

    Raises OptionError for an unknown split; DataError also for one that has no photos, and one that
    lists a photo without captions or that is not there: scores over the others would not be the
    split's.
    """
    if split not in SPLITS:
        raise OptionError(f"split {split!r} is unknown; choose from {', '.join(SPLITS)}")
    corpus = read_corpus(data, format, cache)
    # a photo whose captions have no words stays, for whoever scores the split to name it
    wordless_names = set(corpus.wordless)
    wordless = [item for item in corpus.without_captions if item.name in wordless_names]
    if split in corpus.given:
        for item in corpus.without_captions:
            if item.split == split and item not in wordless:
                raise DataError(
                    f"{item.name}: in the {split} split but without captions; add one, or take "
                    "the photo out"
                )
    items = [item for item in [*corpus.items, *wordless] if item.split == split]
    items.sort(key=lambda item: item.name)
    if not items:
        lists = flickr.find_split_lists(Path(data)) if corpus.format == "flickr" else {}
        if lists and split not in lists:
            missing = next(iter(lists.values())).parent / f"Flickr_8k.{split}Images.txt"
            raise DataError(f"{missing}: missing, so there is no {split} split")
        raise DataError(f"{data}: the {split} split has no images ({corpus.splits_from})")
    for item in items:
        if not item.path.is_file():
            hint = suggest_similar(item.path)
            raise DataError(
                f"{item.path}: missing, though it has captions" + (f"; {hint}" if hint else "")
            )
    return items


def merge_splits(items: Iterable[CaptionedImage]) -> list[CaptionedImage]:
    """Each photo once, with its captions in all splits that have it."""
    merged: dict[tuple[str, Path], CaptionedImage] = {}
    for item in items:
        key = item.name, item.path
        earlier = merged.get(key)
        merged[key] = (
            replace(earlier, captions=earlier.captions + item.captions) if earlier else item
        )
    return list(merged.values())
