"""Captioned photos: read in any format, checked, and split into train, dev and test."""

from model.errors import DataError
from training.data.corpus import (
    CACHE,
    DATA_HELP,
    FORMAT_HELP,
    CaptionedImage,
    Corpus,
    read_corpora,
    read_corpus,
    read_data,
    read_split,
)
from training.data.formats import FORMATS
from training.data.splits import SPLITS

__all__ = [
    "CACHE",
    "DATA_HELP",
    "FORMATS",
    "FORMAT_HELP",
    "SPLITS",
    "CaptionedImage",
    "Corpus",
    "DataError",
    "read_corpora",
    "read_corpus",
    "read_data",
    "read_split",
]
