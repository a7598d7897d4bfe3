"""Photos as the encoder's input: resized, cropped, rescaled and normalised as
`preprocessor_config.json` says.

The plain image processors of transformers do the same, to 1e-5; importing them takes longer than a
caption. Those that do more stay transformers' own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from model.errors import CheckpointError

FILE = "preprocessor_config.json"
INTERPOLATION = {  # by Pillow's number of the filter: torch's name of it
    Image.Resampling.NEAREST: "nearest-exact",
    Image.Resampling.LANCZOS: "lanczos",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
SQUARE = {"height": 224, "width": 224}
CROPPED = {"size": {"shortest_edge": 224}, "do_center_crop": True}
# The plain kinds, and what transformers takes where the file does not say (beside `COMMON`).
COMMON: dict[str, Any] = {
    "size": SQUARE,
    "crop_size": SQUARE,
    "resample": Image.Resampling.BICUBIC,
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "BitImageProcessor": CLIP | CROPPED,
    "CLIPImageProcessor": CLIP | CROPPED,
    "ViTImageProcessor": HALF | {"resample": Image.Resampling.BILINEAR},
    "DeiTImageProcessor": HALF | {"size": {"height": 256, "width": 256}, "do_center_crop": True},
    "SiglipImageProcessor": HALF,
    "BlipImageProcessor": CLIP | {"size": {"height": 384, "width": 384}},
    "BeitImageProcessor": HALF,
}


class ProcessedPhotos(NamedTuple):
    """pixel_values: (B, 3, height, width) float32."""

    pixel_values: Tensor


class ProcessorOutput(Protocol):
    """What an image processor gives: `ProcessedPhotos`, or transformers' `BatchFeature`."""

    @property
    def pixel_values(self) -> Tensor: ...


class ImageProcessor(Protocol):
    """What is used of image processors, ours or those of transformers, whose base class has none
    of it."""

    size: Mapping[str, int]
    crop_size: Mapping[str, int]
    do_resize: bool
    do_center_crop: bool
    resample: int

    def __call__(self, images: Sequence[Image.Image], *, return_tensors: str) -> ProcessorOutput:
        """Photos as tensors: `pixel_values` (B, 3, height, width)."""

    def to_json_string(self) -> str:
        """As `preprocessor_config.json` holds it."""

    def save_pretrained(self, folder: str | Path) -> object:
        """Write `preprocessor_config.json`."""


@dataclass(kw_only=True)
class PlainImageProcessor:
    """Resizes photos, crops their middle, rescales and normalises them, each if asked to.

    Attributes:
        image_processor_type: the class of transformers that does the same, one of `KINDS`.
        size: height and width, or shortest_edge, in pixels.
        crop_size: height and width in pixels.
        resample: Pillow's number of the filter.
        rescale_factor: of the numbers 0 to 255.
        image_mean, image_std: of each channel, once rescaled.
    """

    image_processor_type: str
    size: Mapping[str, int]
    crop_size: Mapping[str, int]
    resample: int
    do_resize: bool
    do_center_crop: bool
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: Sequence[float]
    image_std: Sequence[float]

    def __post_init__(self) -> None:
        """Raises CheckpointError for values that make no input."""
        for name in ("size", "crop_size"):
            sides = getattr(self, name)
            if not isinstance(sides, Mapping) or not all(
                type(side) is int and side > 0 for side in sides.values()
            ):
                raise CheckpointError(f"{name} must hold sides in pixels, not {sides!r}")
        if set(self.size) not in ({"height", "width"}, {"shortest_edge"}):
            raise CheckpointError(f"size must have height and width, not {self.size!r}")
        if set(self.crop_size) != {"height", "width"}:
            raise CheckpointError(f"crop_size must have height and width, not {self.crop_size!r}")
        if self.resample not in list(INTERPOLATION):
            raise CheckpointError(f"resample {self.resample!r} is no known filter")
        if not _is_finite(self.rescale_factor):
            raise CheckpointError(f"rescale_factor must be a number, not {self.rescale_factor!r}")
        for name in ("image_mean", "image_std"):
            numbers = getattr(self, name)
            if not isinstance(numbers, Sequence) or len(numbers) != 3:
                raise CheckpointError(f"{name} must be three numbers, not {numbers!r}")
            if not all(map(_is_finite, numbers)) or (name == "image_std" and 0 in numbers):
                raise CheckpointError(f"{name} must be three numbers, not {numbers!r}")

    def __call__(
        self, images: Sequence[Image.Image], *, return_tensors: str = "pt"
    ) -> ProcessedPhotos:
        """RGB photos of any sizes -> `pixel_values` (B, 3, height, width), normalised."""
        if return_tensors != "pt":
            raise ValueError(f"only torch's tensors (pt) are made, not {return_tensors!r}")
        return ProcessedPhotos(torch.stack([self._process(image) for image in images]))

    def to_json_string(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, folder: str | Path) -> None:
        Path(folder, FILE).write_text(self.to_json_string(), encoding="utf-8")

    def _process(self, image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (3, height, width) of uint8
        if self.do_resize:
            pixels = self._resize(pixels)
        if self.do_center_crop:
            pixels = crop_middle(pixels, self.crop_size["height"], self.crop_size["width"])
        values, factor = pixels.float(), self.rescale_factor if self.do_rescale else 1.0
        if not self.do_normalize:
            return values * factor
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.image_mean, self.image_std))
        return (values - mean / factor) / (std / factor)

    def _resize(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[1:]
        if edge := self.size.get("shortest_edge"):
            shorter, longer = sorted((height, width))
            longer = int(edge * longer / shorter)
            target = (longer, edge) if width <= height else (edge, longer)
        else:
            target = (self.size["height"], self.size["width"])
        if target == (height, width):
            return pixels
        mode = INTERPOLATION[Image.Resampling(self.resample)]
        smooth = mode != "nearest-exact"
        batch = pixels.contiguous()[None]
        return F.interpolate(batch, target, mode=mode, antialias=smooth)[0]


def crop_middle(pixels: Tensor, height: int, width: int) -> Tensor:
    """The middle of a photo (3, rows, cols), with black around one that is smaller."""
    rows, cols = pixels.shape[1:]
    missing_rows, missing_cols = max(0, height - rows), max(0, width - cols)
    left, top = missing_cols // 2, missing_rows // 2
    padded = F.pad(pixels, (left, missing_cols - left, top, missing_rows - top))
    top, left = (padded.shape[1] - height) // 2, (padded.shape[2] - width) // 2
    return padded[:, top : top + height, left : left + width]


def read_image_processor(values: Mapping[str, Any]) -> PlainImageProcessor | None:
    """The image processor of what a `preprocessor_config.json` holds; None for one that does more
    than the plain ones.

    Raises CheckpointError for values that make no input.
    """
    kind = str(values.get("image_processor_type")).removesuffix("Fast")
    if kind not in KINDS or values.get("do_pad"):
        return None
    known = COMMON | KINDS[kind]
    known |= {name: values[name] for name in known if values.get(name) is not None}
    for name in ("size", "crop_size"):  # old files give one number
        if type(known[name]) is int:
            side = known[name]
            by_edge = name == "size" and "shortest_edge" in KINDS[kind].get(name, {})
            known[name] = {"shortest_edge": side} if by_edge else {"height": side, "width": side}
    for name in known:
        if name.startswith("do_"):
            known[name] = bool(known[name])
    return PlainImageProcessor(image_processor_type=kind, **known)


def load_image_processor(name: str | Path) -> ImageProcessor:
    """The image processor in a folder or of a repository of the hub: ours where it is a plain one.

    Raises CheckpointError for a folder's file that is no image processor's.
    """
    path = Path(name, FILE)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        values = {}  # of the hub, or transformers says what is wrong
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    try:
        processor = read_image_processor(values) if isinstance(values, dict) else None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if processor is not None:
        return processor
    from transformers import AutoImageProcessor

    theirs = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    return read_image_processor(theirs.to_dict()) or theirs


def squash_photos(processor: ImageProcessor, size: tuple[int, int]) -> PlainImageProcessor:
    """A plain processor that squashes whole photos to (height, width), with the filter and the
    mean and deviation of another, whatever that does beside it (crops, tiles)."""
    values = {
        name: getattr(processor, name, None)
        for name in ("resample", "do_rescale", "rescale_factor", "do_normalize")
    }
    for name in ("image_mean", "image_std"):
        numbers = getattr(processor, name, None)
        values[name] = None if numbers is None else list(numbers)
    values |= {"image_processor_type": "SiglipImageProcessor"}  # which does nothing else
    values["size"] = {"height": size[0], "width": size[1]}
    plain = read_image_processor(values)
    assert plain is not None  # of a plain kind
    return plain


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
