"""Other views of a photo that its captions are still true of, and the captions that fit them."""

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


def mirrored(caption: str) -> str:
    """What to say of the photo's mirror image: "left" and "right" change places."""
    return re.sub(r"\b([Ll]eft|[Rr]ight|LEFT|RIGHT)\b", lambda m: OTHER_SIDE[m[0]], caption)


@dataclass(frozen=True)
class View:
    """One way to show a photo: a part of it, perhaps mirrored.

    `box` is (top, left, height, width) in shares of the photo; None is all of it.
    """

    mirror: bool = False
    box: tuple[float, float, float, float] | None = None

    def photo(self, photo: Image.Image) -> Image.Image:
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

    def caption(self, caption: str) -> str:
        return mirrored(caption) if self.mirror else caption

    def feature_map(self, seen: Tensor) -> Tensor:
        """The same part of a map (rows, cols, C) of features, on as many rows and columns."""
        if self.box:
            rows, cols = seen.shape[:2]
            top, left, height, width = self.box
            corners = [left * cols, top * rows, (left + width) * cols, (top + height) * rows]
            channels = seen.permute(2, 0, 1)[None].float()
            part = roi_align(channels, [torch.tensor([corners])], (rows, cols), aligned=True)
            seen = part[0].permute(1, 2, 0).to(seen.dtype)
        return seen.flip(1) if self.mirror else seen


@dataclass(frozen=True)
class Augmentation:
    """Which views are shown.

    Colours are never changed: captions name them.

    Args:
        mirror: the mirror image half of the time, with "left" and "right" exchanged.
        crop: the smallest share of a photo's area that is shown; 1 always shows all of it.
        seed: the same seed, pass and photo give the same view, whatever was drawn before, so a
            run that goes on in the middle of a pass sees what it would have seen.
    """

    mirror: bool = False
    crop: float = 1.0
    seed: int = 0

    def view(self, index: int, epoch: int) -> View:
        """The view of photo `index` in pass `epoch`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self.seed, epoch, index)))
            mirror = self.mirror and bool(torch.rand(()) < 0.5)
            return View(mirror, self._box() if self.crop < 1 else None)

    def _box(self) -> tuple[float, float, float, float]:
        side = 1000  # the unit square, in whole steps as torchvision wants them
        square = torch.empty(1, side, side)
        part = v2.RandomResizedCrop(side, scale=(self.crop, 1.0)).make_params([square])
        return tuple(part[name] / side for name in ("top", "left", "height", "width"))
