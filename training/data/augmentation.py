"""Augmentation that keeps captions true: crops, and mirror images with their captions adapted."""

import re
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import roi_align
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

OTHER_SIDE = {"left": "right", "Left": "Right", "LEFT": "RIGHT"}
OTHER_SIDE |= {right: left for left, right in OTHER_SIDE.items()}


def mirror_caption(caption: str) -> str:
    """The caption of the photo's mirror image: "left" and "right" are exchanged."""
    pattern = r"\b([Ll]eft|[Rr]ight|LEFT|RIGHT)\b"
    return re.sub(pattern, lambda match: OTHER_SIDE[match[0]], caption)


@dataclass(frozen=True)
class View:
    """A photo as an epoch shows it: cropped, mirrored, both or neither.

    Attributes:
        mirror: whether the photo is mirrored.
        box: the crop (top, left, height, width) in fractions of the photo; None is all of it.
    """

    mirror: bool = False
    box: tuple[float, float, float, float] | None = None

    def transform_photo(self, photo: Image.Image) -> Image.Image:
        if self.box:
            rows, cols = photo.height, photo.width
            top, left, height, width = self.box
            photo = functional.crop(
                photo,
                round(top * rows),
                round(left * cols),
                max(1, round(height * rows)),
                max(1, round(width * cols)),
            )
        return functional.horizontal_flip(photo) if self.mirror else photo

    def transform_caption(self, caption: str) -> str:
        return mirror_caption(caption) if self.mirror else caption

    def transform_map(self, feature_map: Tensor) -> Tensor:
        """The view of a feature map (rows, cols, C), resampled to the same rows and columns."""
        if self.box:
            rows, cols = feature_map.shape[:2]
            top, left, height, width = self.box
            corners = [left * cols, top * rows, (left + width) * cols, (top + height) * rows]
            channels = feature_map.permute(2, 0, 1)[None].float()
            crop = roi_align(channels, [torch.tensor([corners])], (rows, cols), aligned=True)
            feature_map = crop[0].permute(1, 2, 0).to(feature_map.dtype)
        return feature_map.flip(1) if self.mirror else feature_map


@dataclass(frozen=True)
class Augmentation:
    """Which views of the photos are shown. Colours are never changed: captions name them.

    Attributes:
        mirror: mirror half of the views, with "left" and "right" exchanged in the captions.
        crop: the smallest fraction of a photo's area that a crop keeps; 1 does not crop.
        seed: with the epoch and the photo's index it decides the view, whatever was drawn before:
            a run that is resumed in the middle of an epoch sees what it would have seen.
    """

    mirror: bool = False
    crop: float = 1.0
    seed: int = 0

    def choose_view(self, index: int, epoch: int) -> View:
        """The view of photo `index` in `epoch`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self.seed, epoch, index)))
            mirror = self.mirror and bool(torch.rand(()) < 0.5)
            return View(mirror, self._choose_box() if self.crop < 1 else None)

    def _choose_box(self) -> tuple[float, float, float, float]:
        side = 1000  # of a unit square, in the whole numbers that torchvision requires
        square = torch.empty(1, side, side)
        crop = v2.RandomResizedCrop(side, scale=(self.crop, 1.0)).make_params([square])
        top, left, height, width = (
            crop[name] / side for name in ("top", "left", "height", "width")
        )
        return top, left, height, width
