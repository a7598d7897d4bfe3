"""Captioned photos made ready to learn from. The reading of them is `model.corpora`'s, whose names
are here too."""

from model.corpora import (
    CACHE,
    DATA_HELP,
    FORMAT_HELP,
    FORMATS,
    SPLITS,
    CaptionedImage,
    Corpus,
    DataError,
    read_corpora,
    read_corpus,
    read_data,
    read_split,
)

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
