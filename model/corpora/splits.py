"""The names that people give to splits, and ours for them."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from model.corpora.values import is_missing
from model.errors import DataError

SPLITS = ("train", "dev", "test")
# By the words in a name. Of several the one that is held out most counts: test-dev is a test split.
SPLIT_WORDS = {
    "test": {"test", "testing", "holdout", "heldout", "minitest", "testdev"},
    "dev": {
        "dev",
        "val",
        "valid",
        "validation",
        "eval",
        "evaluation",
        "development",
        "minival",
        "devel",
        "validate",
    },
    "train": {"train", "training", "restval", "trainval", "minitrain"},
}
# names of the whole of a dataset, which is split no further
WHOLE = {"all", "full", "whole", "default"}
# what a folder may be called beside its split, as in "test images"
NOUNS = {"set", "split", "data", "image", "images", "photo", "photos", "img", "imgs"}
# written together, as in "testset"
_ENDING = re.compile(
    f"({'|'.join(sorted(set().union(*SPLIT_WORDS.values()), key=len, reverse=True))})"
    "(?:set|data|split)"
)
SPLIT_COLUMNS = ("split", "subset", "partition")


def find_split(name: str) -> str | None:
    """The split that a name's words tell ("captions_val2017", "test_dev"); None if they do not."""
    words = _list_words(name)
    return next((split for split, known in SPLIT_WORDS.items() if words & known), None)


def _list_words(name: str) -> set[str]:
    """The words of a name, in small letters and without endings: "captions_val2017" has val."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(r"[^\W\d_]+", re.sub(r"h[eo]ld[-_ ]out", "holdout", name))
    return {_ENDING.sub(r"\1", word) for word in words}


def find_split_in_folders(name: str) -> str | None:
    """The split of a photo by the outermost folder in its name that is called after one."""
    for folder in PurePath(name).parent.parts:
        words = _list_words(folder) - NOUNS
        if words and all(any(word in known for known in SPLIT_WORDS.values()) for word in words):
            return find_split(folder)
    return None


def name_split(value: object) -> str | None:
    """Our name for a split as the data calls it; None where it says none.

    Raises ValueError for what is no split's name.
    """
    if is_missing(value):
        return None
    if isinstance(value, str):
        if split := find_split(value):
            return split
        if _list_words(value) & WHOLE:
            return None
    raise ValueError(f"{value!r} is no split")


def check_splits(values: Iterable[Any]) -> None:
    """Raise DataError, which lists all the values, if one of them is no split's name.

    A photo that ought to be held out must not be learned from because its split has a new name.
    """
    seen: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for value in values:
        if is_missing(value):
            continue
        seen[repr(value)] = None
        try:
            name_split(value)
        except ValueError:
            unknown[repr(value)] = None
    if unknown:
        raise DataError(
            f"splits {_join_values(unknown)} are unknown; the data has {_join_values(seen)}: "
            "call each train, validation or test"
        )


def _join_values(values: dict[str, None], most: int = 10) -> str:
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(list(values)[:most]) + more


def find_split_column(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> str | None:
    """The column that tells the split: `split`, or another of `SPLIT_COLUMNS` with such values."""
    by_name = {column.lower(): column for column in columns}
    present = [by_name[name] for name in SPLIT_COLUMNS if name in by_name]
    if not present or "split" in by_name:
        return present[0] if present else None
    values: dict[str, set[str]] = {column: set() for column in present}
    for row in rows:
        for column in present:
            if isinstance(row.get(column), str):
                values[column].add(row[column])
    # if one value is a split's, the others ought to be: `check_splits` names those that are not
    return next((c for c in present if any(map(find_split, values[c]))), None)


def choose_split(name: str) -> str:
    """The split of a photo that its name alone decides: 80% train, 10% dev, 10% test."""
    tenth = int(hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest(), 16) % 10
    return {8: "dev", 9: "test"}.get(tenth, "train")
