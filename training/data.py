"""Captioned photos, whatever format they are in, and the splits they belong to."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePath

from training.formats import FORMATS, DataError, Found, recognise, split_lists, split_named
from training.hub import as_imagefolder

SPLITS = ("train", "dev", "test")
CACHE = "runs/cache"
DATA_HELP = "folder or hub id of captioned photos; see training/README.md"
FORMAT_HELP = "of the data, where looking at it does not tell"


@dataclass(frozen=True)
class CaptionedImage:
    """A photo on disk, its name in the corpus, and what people wrote about it, as they wrote it."""

    name: str
    path: Path
    captions: list[str]
    split: str = "train"


@dataclass(frozen=True)
class Corpus:
    """What was found in a folder or in a dataset of the hub.

    items: the photos with captions, there or not, in the order of their names.
    without_captions: photos that the data names without a word about them.
    blank: how many captions were empty; they are left out.
    given: the splits that the data gives; the others were made.
    """

    format: str
    items: list[CaptionedImage]
    without_captions: list[CaptionedImage]
    blank: int
    given: set[str]

    @property
    def splits_from(self) -> str:
        """Where the splits come from, in words."""
        if not self.given:
            return "no splits given: the photos' names decide, 80 / 10 / 10 %"
        if "train" in self.given and "dev" not in self.given:
            return "no dev split given: the photos' names choose it, a tenth of train"
        return "splits as given"


def read_corpus(data: str | Path, format: str | None = None, cache: str | Path = CACHE) -> Corpus:
    """Read a folder of captioned photos, or a dataset of the hub.

    format: one of `FORMATS`; found by looking if None.
    cache: folder where the photos of a hub dataset are written.

    Splits are those of the data: its lists or columns, or a folder `train/`, `validation/` or
    `test/` that a photo lies in. Where it has none, each photo's name decides (80 / 10 / 10 %), so
    that adding photos moves none. Where it has some, photos in none are for training, and if there
    is no dev among them, the names choose a tenth of train. A test split is never used as dev.

    Raises DataError for a format that is unknown, not there or broken; not for lost photos.
    """
    format = format or recognise(data)
    if format not in FORMATS:
        raise DataError(f"format {format!r} is unknown; choose from {', '.join(FORMATS)}")
    folder = Path(data)
    if format == "hub":
        folder = as_imagefolder(data, cache)
    elif not folder.is_dir() or not FORMATS[format].files(folder):
        raise DataError(f"{data}: not {format}, found no {FORMATS[format].looks_for} in it")
    found = [(_told(one), one) for one in FORMATS[format].read(folder)]
    given = {split for split, _ in found if split}
    paths: dict[tuple[str, str], Path] = {}
    captions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for split, one in found:
        key = one.name, _decided(split, one.name, given)
        paths[key] = one.path
        captions[key] += one.captions
    # a blank caption says nothing that could be learned or scored
    said = {key: [caption for caption in captions[key] if caption.strip()] for key in paths}
    images = [
        CaptionedImage(name, paths[name, split], said[name, split], split)
        for name, split in sorted(paths)
    ]
    return Corpus(
        format,
        [image for image in images if image.captions],
        [image for image in images if not image.captions],
        sum(map(len, captions.values())) - sum(map(len, said.values())),
        given,
    )


def read_data(
    data: str | Path, format: str | None = None, cache: str | Path = CACHE
) -> list[CaptionedImage]:
    """The photos that have captions, there or not, in the order of their names."""
    return read_corpus(data, format, cache).items


def read_split(
    data: str | Path, split: str, format: str | None = None, cache: str | Path = CACHE
) -> list[CaptionedImage]:
    """The photos of one split, in the order of their names, all of them there: see `read_corpus`.

    Raises DataError also for an unknown split, one that has no photos, and one that lists a photo
    without captions or that is not there: scores over the others would not be the split's.
    """
    if split not in SPLITS:
        raise DataError(f"split {split!r} is unknown; choose from {', '.join(SPLITS)}")
    corpus = read_corpus(data, format, cache)
    if split in corpus.given:
        for item in corpus.without_captions:
            if item.split == split:
                raise DataError(f"{item.name}: in the {split} split but without captions")
    items = [item for item in corpus.items if item.split == split]
    if not items:
        lists = split_lists(Path(data)) if corpus.format == "flickr" else {}
        if lists and split not in lists:
            sought = next(iter(lists.values())).parent / f"Flickr_8k.{split}Images.txt"
            raise DataError(f"{sought}: missing, so there is no {split} split")
        raise DataError(f"{data}: the {split} split has no images ({corpus.splits_from})")
    for item in items:
        if not item.path.is_file():
            raise DataError(f"{item.path}: missing, though it has captions")
    return items


def _told(found: Found) -> str | None:
    """The split that the data says, or a folder that the photo lies in."""
    names = (found.split, *PurePath(found.name).parent.parts)
    return next(filter(None, map(split_named, names)), None)


def _decided(split: str | None, name: str, given: set[str]) -> str:
    """The split of a photo for which the data says `split`, where it gives the splits `given`."""
    if not given:
        return split_of(name)
    if split in (None, "train"):
        return "dev" if "dev" not in given and split_of(name) == "dev" else "train"
    return split


def split_of(name: str) -> str:
    """The split of a photo that its name alone decides."""
    tenth = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10
    return {8: "dev", 9: "test"}.get(tenth, "train")
