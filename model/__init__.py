"""CaptionLens: captions from photos, with where each word looked."""

from model.captioner import Captioner
from model.errors import (
    CaptionLensError,
    CheckpointError,
    DataError,
    ImageError,
    OptionError,
    RunError,
)
from model.explain.explanation import Explanation
from model.explain.methods import CrossAttention
from model.loading import load
from model.search.caption import Caption
from model.search.options import DecodingOptions

__all__ = [
    "Caption",
    "CaptionLensError",
    "Captioner",
    "CheckpointError",
    "CrossAttention",
    "DataError",
    "DecodingOptions",
    "Explanation",
    "ImageError",
    "OptionError",
    "RunError",
    "load",
]
