"""CaptionLens: captions from photos, with where each word looked."""

from model.attention_maps import CrossAttention
from model.caption import Caption
from model.captioner import Captioner
from model.config import CheckpointError
from model.explanation import Explanation
from model.generation import DecodingOptions
from model.images import ImageError
from model.loading import load

__all__ = [
    "Caption",
    "Captioner",
    "CheckpointError",
    "CrossAttention",
    "DecodingOptions",
    "Explanation",
    "ImageError",
    "load",
]
