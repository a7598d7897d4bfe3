"""CaptionLens: captions from photos, with where each word looked."""

from model.attention_maps import CrossAttention
from model.caption import Caption
from model.captioner import Captioner
from model.errors import (
    CaptionLensError,
    CheckpointError,
    DataError,
    ImageError,
    OptionError,
    RunError,
)
from model.explanation import Explanation
from model.generation import DecodingOptions
from model.loading import load

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
