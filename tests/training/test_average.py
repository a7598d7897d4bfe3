"""An average is the mean of the weights, of captioners that are of one make."""

import pytest
import torch

from model import load
from model.network.tokenizer import CaptionTokenizer
from tests.support.tiny import draw_photo, tiny_captioner
from training.average import main


@pytest.fixture
def parts(tmp_path):
    for seed in (1, 2):
        tiny_captioner(seed=seed).save_pretrained(tmp_path / f"{seed}", torch.float32)
    return [str(tmp_path / "1"), str(tmp_path / "2")]


def test_average(parts, tmp_path):
    output = tmp_path / "mean"
    assert main([*parts, "--shares", "1", "3", "--output", str(output)]) == 0
    one, two, mean = (load(p).network.state_dict() for p in (*parts, output))
    for name in mean:
        expected = 0.25 * one[name] + 0.75 * two[name]
        torch.testing.assert_close(mean[name], expected, atol=2e-3, rtol=2e-3)
    assert load(output).caption(draw_photo()).text


def test_of_itself_is_itself(parts, tmp_path):
    assert main([parts[0], parts[0], "--output", str(tmp_path / "same")]) == 0
    same, one = load(tmp_path / "same"), load(parts[0])
    for name, weight in one.network.half().float().state_dict().items():
        torch.testing.assert_close(same.network.state_dict()[name], weight)


def test_what_cannot_be_averaged(parts, tmp_path, capsys):
    other = tiny_captioner((28, 56))
    other.save_pretrained(tmp_path / "other")
    words = tiny_captioner()
    words.network.tokenizer = CaptionTokenizer.train(["completely different words"] * 9, 280)
    words.save_pretrained(tmp_path / "words")
    for arguments, message in (
        ([parts[0], str(tmp_path / "other")], f"as {parts[0]}, they differ in image_size; only"),
        ([parts[0], str(tmp_path / "words")], f"as {parts[0]}, they differ in vocabulary; only"),
        ([*parts, "--shares", "1"], "1 shares for 2 checkpoints"),
        ([*parts, "--shares", "0", "0"], "not all 0"),
        ([str(tmp_path / "none")], "no such checkpoint folder"),
    ):
        assert main([*arguments, "--output", str(tmp_path / "x")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "x").exists()
