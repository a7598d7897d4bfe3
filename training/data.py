"""Captioned images on disk."""

import csv
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

IMAGE_FOLDERS = ("images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset")
SPLITS = ("train", "dev", "test")


class DataError(ValueError):
    """A dataset that cannot be used; the message is one line that says what to do."""


@dataclass(frozen=True)
class CaptionedImage:
    """A photo on disk, its name in the corpus, and what people wrote about it, as they wrote it."""

    name: str
    path: Path
    captions: list[str]


def read_split(folder: str | Path, split: str) -> list[CaptionedImage]:
    """The images of one split, in the order of their names.

    Two layouts are recognised: the corpus's own (`Flickr8k.token.txt`, one
    `name.jpg#k<TAB>caption` a line) and Kaggle's (`captions.txt`, CSV with the columns `image`
    and `caption`). The photos lie in `images/` or `Images/`. Splits come from
    `Flickr_8k.{train,dev,test}Images.txt` where these are; else each image's own name decides
    (80 / 10 / 10 %), so that adding images moves none.

    Raises DataError for a folder without captions, an unknown split, one that has no images, or
    a captioned image that is not there.
    """
    folder = Path(folder)
    if split not in SPLITS:
        raise DataError(f"split {split!r} is unknown; choose from {', '.join(SPLITS)}")
    captions = _read_captions(folder)
    listed = {name: folder / f"Flickr_8k.{name}Images.txt" for name in SPLITS}
    if any(path.is_file() for path in listed.values()):
        if not listed[split].is_file():
            raise DataError(f"{listed[split]}: missing, so there is no {split} split")
        lines = listed[split].read_text(encoding="utf-8-sig").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    else:
        names = [name for name in captions if _split_of(name) == split]
    if not names:
        raise DataError(f"{folder}: the {split} split has no images")
    images = next((folder / d for d in IMAGE_FOLDERS if (folder / d).is_dir()), folder)
    items = [CaptionedImage(n, images / n, captions.get(n, [])) for n in sorted(names)]
    for item in items:
        if not item.captions:
            raise DataError(f"{item.name}: in the {split} split but without captions")
        if not item.path.is_file():
            raise DataError(f"{item.path}: missing, though it has captions")
    return items


def _read_captions(folder: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = defaultdict(list)
    corpus, kaggle = folder / "Flickr8k.token.txt", folder / "captions.txt"
    if corpus.is_file():
        for number, line in enumerate(corpus.read_text(encoding="utf-8-sig").splitlines(), 1):
            name, tab, caption = line.partition("\t")
            if not tab:
                raise DataError(f"{corpus}, line {number}: no tab between image and caption")
            captions[name.partition("#")[0]].append(caption)
    elif kaggle.is_file():
        with kaggle.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"image", "caption"} <= set(reader.fieldnames or ()):
                raise DataError(f"{kaggle}: the first line must name columns image and caption")
            for row in reader:
                captions[row["image"]].append(row["caption"] or "")
    else:
        raise DataError(f"{folder}: found neither {corpus.name} nor {kaggle.name} with captions")
    # a blank caption says nothing that could be learned or scored
    kept = {name: [c for c in said if c.strip()] for name, said in captions.items()}
    return {name: said for name, said in kept.items() if said}


def _split_of(name: str) -> str:
    tenth = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10
    return {8: "dev", 9: "test"}.get(tenth, "train")
