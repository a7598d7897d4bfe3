"""Training learns, resumes to the same result, and evaluation reports what it says it does."""

import json

import pytest
import torch
from safetensors.torch import load_file

from model import load
from tests.tiny import tiny_captioner
from training.data import DataError, read_split
from training.evaluate import evaluate
from training.evaluate import main as evaluate_main
from training.learner import AVERAGE, Learner, parameter_groups
from training.train import main, new_or_loaded, parse, train


def settings(flickr, start, output, *more):
    return parse(
        ["--data", str(flickr), "--checkpoint", str(start), "--output", str(output)]
        + ["--cache", str(output.parent / "cache"), "--batch-size", "2", "--fp32"]
        + [str(m) for m in more]
    )


def losses(output):
    state = max(output.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    return [r["loss"] for r in json.loads(state.read_text())["log_history"] if "loss" in r]


@pytest.mark.slow
def test_it_learns_its_train_photos(flickr, start, tmp_path):
    train(
        settings(
            flickr,
            start,
            tmp_path / "run",
            "--epochs",
            150,
            "--rate",
            5e-3,
            "--dropout",
            0,
            "--label-smoothing",
            0,
            "--patience",
            99,
            "--average",
            0.9,
            "--evaluations",
            0.02,
        )
    )
    course = losses(tmp_path / "run")
    assert course[-1] < 0.5 * course[0]
    learned = load(start)
    (last,) = (tmp_path / "run").glob("checkpoint-300")
    before = learned.encoder.backbone.layernorm.weight.clone()
    Learner(learned, 0).load_state_dict(load_file(last / "model.safetensors"))
    for item in read_split(flickr, "train"):
        text = learned.caption(item.path, num_beams=1).text
        assert text.startswith(f"A dog number {item.name[0]}")  # which its photo alone tells
    assert torch.equal(learned.encoder.backbone.layernorm.weight, before)  # it was frozen
    assert load(tmp_path / "run" / "best").config == learned.config


@pytest.mark.slow
@pytest.mark.parametrize("encoder_rate, samples", [(0, 0), (1e-3, 0), (1e-3, 3)])
def test_resumed_is_uninterrupted(flickr, start, tmp_path, encoder_rate, samples):
    options = [
        "--samples",
        samples,
        "--epochs",
        3,
        "--rate",
        1e-3,
        "--encoder-rate",
        encoder_rate,
        "--mirror",
        "--patience",
        99,
        "--patch-dropout",
        0.25,
    ]
    train(settings(flickr, start, tmp_path / "whole", *options))

    class Interrupted(Exception):
        pass

    from training.learner import Average

    save = Average.on_save

    def save_and_stop(self, args, state, control, **kwargs):
        save(self, args, state, control, **kwargs)
        raise Interrupted

    Average.on_save = save_and_stop
    try:
        with pytest.raises(Interrupted):
            train(settings(flickr, start, tmp_path / "parts", *options))
    finally:
        Average.on_save = save
    train(settings(flickr, start, tmp_path / "parts", *options))
    for name in ("model.safetensors", AVERAGE):
        whole = load_file(tmp_path / "whole" / "checkpoint-6" / name)
        parts = load_file(tmp_path / "parts" / "checkpoint-6" / name)
        before = Learner(load(start), 0).state_dict()
        for key, value in whole.items():
            torch.testing.assert_close(parts[key], value, atol=1e-6, rtol=1e-5)
        moved = [k for k in whole if not torch.equal(whole[k], before[k])]
        assert any(k.startswith("captioner.encoder.") for k in moved) == bool(encoder_rate)


@pytest.mark.slow
def test_the_same_command_again(flickr, start, tmp_path, capsys, monkeypatch):
    """Stopped early it stays stopped; half-written checkpoints and other settings are noticed."""
    chosen = settings(flickr, start, tmp_path / "run", "--epochs", 9, "--patience", 1)
    train(chosen)  # dev CIDEr cannot rise: the first evaluation is the best
    run = tmp_path / "run"
    assert sorted(p.name for p in run.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    best = (run / "best" / "model.safetensors").read_bytes()
    train(chosen)
    assert f"stopped early at {run / 'checkpoint-4'}" in capsys.readouterr().out
    assert sorted(p.name for p in run.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert (run / "best" / "model.safetensors").read_bytes() == best

    (run / "checkpoint-4" / AVERAGE).unlink()  # as if killed while saving
    train(chosen)
    assert f"going on from {run / 'checkpoint-2'}" in capsys.readouterr().out

    other = settings(flickr, start, run, "--epochs", 9, "--patience", 1, "--rate", 2e-3)
    with pytest.raises(DataError, match=r"a run with --rate 0.001; give the same, or another"):
        train(other)
    assert json.loads((run / "settings.json").read_text())["rate"] == 1e-3


@pytest.mark.slow
def test_best_holds_the_averaged_weights(flickr, start, tmp_path):
    train(settings(flickr, start, tmp_path / "run", "--epochs", 1))
    best = load(tmp_path / "run" / "best").state_dict()
    average = load_file(tmp_path / "run" / "checkpoint-2" / AVERAGE)
    raw = load_file(tmp_path / "run" / "checkpoint-2" / "model.safetensors")
    best_key = "decoder.blocks.0.mlp.up.weight"
    key = f"captioner.{best_key}"
    torch.testing.assert_close(best[best_key], average[key].half().float())
    assert not torch.equal(average[key], raw[key])


def test_two_rates_and_no_decay_on_vectors(flickr, start, tmp_path):
    chosen = settings(flickr, start, tmp_path, "--rate", 1e-3, "--encoder-rate", 1e-5)
    captioner = new_or_loaded(chosen, [])
    groups = parameter_groups(Learner(captioner, 0), chosen)
    assert {(g["lr"], g["weight_decay"]) for g in groups} == {
        (1e-3, 0.05),
        (1e-3, 0.0),
        (1e-5, 0.05),
        (1e-5, 0.0),
    }
    assert sum(len(g["params"]) for g in groups) == len(list(captioner.parameters()))
    for group in groups:
        assert all((p.dim() > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_bad_data_is_one_line(tmp_path, capsys):
    for command in (main, evaluate_main):
        assert command(["--data", str(tmp_path), "--output", str(tmp_path / "x")]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        assert "found neither Flickr8k.token.txt nor captions.txt" in error


def test_arguments_that_make_no_sense(flickr, start, tmp_path, capsys):
    for option, value, message in (
        ("--batch-size", 0, "must be at least 1, not 0"),
        ("--epochs", 0, "must be above 0"),
        ("--label-smoothing", 2, "must be from 0 to below 1"),
        ("--samples", 1, "must be 0 or at least 2, not 1"),
        ("--captions-weight", 0.1, "stands beside a reward; give --samples too"),
        ("--teacher", "magic", "invalid choice: 'magic'"),
    ):
        with pytest.raises(SystemExit):
            settings(flickr, start, tmp_path, option, value)
        assert f"{option}: {message}" in capsys.readouterr().err
    for more, message in (
        (["--checkpoint", tmp_path / "none"], "no such checkpoint folder"),
        (["--data", tmp_path / "none"], "found neither"),
    ):
        arguments = ["--data", flickr, "--checkpoint", start, "--output", tmp_path / "run", *more]
        assert main([*map(str, arguments), "--cache", str(tmp_path / "cache"), "--fp32"]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and message in error


def test_evaluation_says_what_it_measured(flickr, start, tmp_path, capsys):
    output = tmp_path / "scores.json"
    arguments = ["--data", flickr, "--split", "train", "--checkpoint", start, "--output", output]
    assert evaluate_main([str(a) for a in arguments]) == 0
    result = json.loads(output.read_text())
    assert result["num_images"] == 4 and result["split"] == "train"
    for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"):
        assert isinstance(result[name], float) and isinstance(result["no_image"][name], float)
        assert set(result["made_with"][name]) == {"implementation", "tokenizer"}
    captioner = load(start)
    assert result["captions"] == {
        item.path.name: captioner.caption(item.path).text for item in read_split(flickr, "train")
    }
    assert "4 images" in capsys.readouterr().out


def test_without_the_image_all_captions_are_one(flickr):
    captioner, items = tiny_captioner(), read_split(flickr, "train")
    result = evaluate(captioner, items)
    features = captioner.encode([item.path for item in items])
    assert result["no_image"]["caption"] == captioner.caption(features.mean(0)).text
