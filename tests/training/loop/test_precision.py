"""bfloat16 is used where it is faster, and only there."""

import pytest
import torch

from training.loop import precision, preparation
from training.settings import TrainingSettings


@pytest.mark.parametrize("seconds, fast", [(0.5, True), (1.0, True), (2.0, False)])
def test_it_is_fast_where_its_product_takes_no_longer(monkeypatch, seconds, fast):
    times = {torch.float32: 1.0, torch.bfloat16: seconds}
    monkeypatch.setattr(precision, "_time_product", times.get)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert precision.is_bfloat16_fast.__wrapped__() is fast


@pytest.mark.parametrize("fp32", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_training_uses_it_where_it_is_fast(monkeypatch, tmp_path, fp32, fast):
    monkeypatch.setattr(preparation, "is_bfloat16_fast", lambda: fast)
    settings = TrainingSettings(data="photos", output=str(tmp_path), fp32=fp32)
    assert preparation.create_training_arguments(settings).bf16 is (fast and not fp32)


def test_a_product_takes_time():
    assert 0 < precision._time_product(torch.float32) < 10
