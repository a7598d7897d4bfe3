"""Captioned photos as people have them: read in any format, and split into train, dev and test."""

from model.corpora.corpus import (
    CACHE,
    DATA_HELP,
    FORMAT_HELP,
    CaptionedImage,
    Corpus,
    merge_splits,
    read_corpora,
    read_corpus,
    read_data,
    read_split,
)
from model.corpora.formats import FORMATS
from model.corpora.splits import SPLITS
from model.errors import DataError

__all__ = [
    "CACHE",
    "DATA_HELP",
    "FORMATS",
    "FORMAT_HELP",
    "SPLITS",
    "CaptionedImage",
    "Corpus",
    "DataError",
    "merge_splits",
    "read_corpora",
    "read_corpus",
    "read_data",
    "read_split",
]
