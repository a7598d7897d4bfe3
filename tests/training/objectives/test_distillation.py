"""The encoder learns what the teacher sees, at the place where it sees it; then both are gone."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from model import load
from model.errors import OptionError
from tests.support.tiny import tiny_captioner
from training.data import read_split
from training.objectives import distillation
from training.objectives.distillation import DistillationLoss, cache_teacher_maps, load_teacher
from training.settings import TrainingSettings
from training.train import train


def channels_at(place, grid=(4, 4), channels=3):
    maps = np.zeros((2, *grid, channels), np.float32)
    maps[:, place[0], place[1], 1] = 1
    return maps


def test_the_loss_falls_to_the_place_where_the_teacher_saw_it():
    torch.manual_seed(0)
    maps = channels_at((1, 2))
    loss = DistillationLoss(8, (4, 4), nn.Linear(3, 5), maps)
    patches = nn.Parameter(torch.randn(2, 16, 8) * 0.1)
    assert not any(p.requires_grad for p in loss.classifier.parameters())
    optimizer = torch.optim.Adam([patches, loss.read.weight, loss.read.bias], 0.05)
    course = []
    for _ in range(150):
        value = loss(patches, None, torch.from_numpy(maps))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        course.append(value.item())
    assert course[-1] < 0.2 * course[0]
    assert (loss.read(patches)[..., 1].argmax(1) == 1 * 4 + 2).all()


def test_left_out_patches_are_left_out_of_the_loss():
    """Patches in any order, with their places: the loss is of these places."""
    torch.manual_seed(0)
    maps = np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32)
    loss = DistillationLoss(8, (4, 4), nn.Linear(3, 5), maps)
    patches = torch.randn(2, 16, 8)
    order = torch.stack([torch.randperm(16), torch.randperm(16)])
    moved = patches.gather(1, order[..., None].expand(-1, -1, 8))
    whole = loss(patches, None, torch.from_numpy(maps))
    torch.testing.assert_close(loss(moved, order, torch.from_numpy(maps)), whole)
    assert not torch.isclose(loss(moved, None, torch.from_numpy(maps)), whole)


def test_a_teacher_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(OptionError, match="pip install efficientnet-lite-pytorch "):
        load_teacher("efficientnet-lite2")


class TinyTeacher(nn.Module):
    """Sees the mean colour of each quarter of the photo."""

    def __init__(self):
        super().__init__()
        self._fc = nn.Linear(3, 5)

    def get_image_size(self, name):
        return 20

    def extract_features(self, pixels):
        return nn.functional.adaptive_avg_pool2d(pixels, 2)


def test_training_with_a_teacher_leaves_a_plain_captioner(flickr, tmp_path, monkeypatch):
    monkeypatch.setattr(distillation, "load_teacher", lambda name: TinyTeacher())
    monkeypatch.setattr("training.loop.preparation.load_teacher", lambda name: TinyTeacher())
    captioner = tiny_captioner(seed=1)
    captioner.save_pretrained(tmp_path / "start")
    settings = TrainingSettings(
        data=str(flickr),
        checkpoint=str(tmp_path / "start"),
        output=str(tmp_path / "run"),
        cache=str(tmp_path / "cache"),
        epochs=1,
        batch_size=2,
        fp32=True,
        encoder_rate=1e-3,
        patch_dropout=0.25,
        mirror=True,
        teacher="efficientnet-lite0",
    )
    train(settings)
    best = load(tmp_path / "run" / "best")
    assert best.network.config == captioner.network.config
    items = read_split(flickr, "train")
    maps = cache_teacher_maps("efficientnet-lite0", items, tmp_path / "cache")
    assert maps.shape == (4, 2, 2, 3) and maps.dtype == np.float16
    again = list((tmp_path / "cache").glob("teacher-*"))
    assert len(again) == 1  # found again, not made again
