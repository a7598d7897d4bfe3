"""Training learns, resumes to the same result, and evaluation reports what it says it does."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model import CheckpointError, load
from model.errors import OptionError
from model.search.generation import choose_options, write_captions
from tests.support.flickr import write_flickr8k
from tests.support.paths import ROOT
from tests.support.tiny import tiny_captioner
from tests.support.training import settings
from training.data import read_split
from training.data.dataset import CaptionDataset, collate
from training.evaluate import main as evaluate_main
from training.evaluation.captioning import evaluate_network
from training.loop.callbacks import RunMonitor
from training.loop.learner import Learner
from training.loop.run_folder import AVERAGE
from training.loop.trainer import sum_losses
from training.settings import parse_settings
from training.train import main, train


def read_losses(output):
    state = max(output.glob("checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime)
    return [r["loss"] for r in json.loads(state.read_text())["log_history"] if "loss" in r]


@pytest.mark.slow
def test_it_learns_its_train_photos(flickr, start, tmp_path):
    train(
        settings(
            flickr,
            start,
            tmp_path / "run",
            epochs=150,
            rate=5e-3,
            dropout=0,
            label_smoothing=0,
            patience=99,
            average=0.9,
            evaluations=0.02,
        )
    )
    losses = read_losses(tmp_path / "run")
    assert losses[-1] < 0.5 * losses[0]
    learned = load(start)
    (last,) = (tmp_path / "run").glob("checkpoint-300")
    before = learned.network.encoder.final_norm.weight.clone()
    Learner(learned.network, 0).load_state_dict(load_file(last / "model.safetensors"))
    for item in read_split(flickr, "train"):
        text = learned.caption(item.path, num_beams=1).text
        assert text.startswith(f"A dog number {item.name[0]}")  # which its photo alone tells
    assert torch.equal(learned.network.encoder.final_norm.weight, before)  # it was frozen
    assert load(tmp_path / "run" / "best").network.config == learned.network.config


@pytest.mark.slow
@pytest.mark.parametrize("encoder_rate, samples", [(0, 0), (1e-3, 0), (1e-3, 3)])
def test_resumed_is_uninterrupted(flickr, start, tmp_path, monkeypatch, encoder_rate, samples):
    options = dict(
        samples=samples,
        epochs=3,
        rate=1e-3,
        encoder_rate=encoder_rate,
        mirror=True,
        crop=0.5 if encoder_rate else 1,
        evaluations=2,  # so that there are checkpoints in the middle of a pass
        patience=99,
        patch_dropout=0.25 if encoder_rate else 0.0,
    )
    train(settings(flickr, start, tmp_path / "whole", **options))

    class Interrupted(Exception):
        pass

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 3:  # in the middle of the second pass
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(RunMonitor, "on_save", stop)
        with pytest.raises(Interrupted):
            train(settings(flickr, start, tmp_path / "parts", **options))
    assert (tmp_path / "parts" / "checkpoint-3").is_dir()
    train(settings(flickr, start, tmp_path / "parts", **options))
    for name in ("model.safetensors", AVERAGE):
        whole = load_file(tmp_path / "whole" / "checkpoint-6" / name)
        parts = load_file(tmp_path / "parts" / "checkpoint-6" / name)
        before = Learner(load(start).network, 0).state_dict()
        for key, value in whole.items():
            torch.testing.assert_close(parts[key], value, atol=1e-6, rtol=1e-5)
        moved = [k for k in whole if not torch.equal(whole[k], before[k])]
        assert any(k.startswith("captioner.encoder.") for k in moved) == bool(encoder_rate)


@pytest.mark.slow
def test_the_same_command_again(flickr, start, tmp_path, capsys, monkeypatch):
    """Stopped early it stays stopped; half-written checkpoints and other settings are noticed."""
    run_settings = settings(flickr, start, tmp_path / "run", epochs=9, patience=1)
    # neither score moves: the first evaluation is the best
    monkeypatch.setattr("training.loop.trainer.sum_losses", lambda *_: (1.0, 1))
    train(run_settings)
    run = tmp_path / "run"
    assert sorted(p.name for p in run.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    best = (run / "best" / "model.safetensors").read_bytes()
    train(run_settings)
    assert f"stopped early at {run / 'checkpoint-4'}" in capsys.readouterr().out
    assert sorted(p.name for p in run.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert (run / "best" / "model.safetensors").read_bytes() == best

    (run / "checkpoint-4" / AVERAGE).unlink()  # as if killed while saving
    train(run_settings)
    printed = capsys.readouterr()
    assert f"resuming from {run / 'checkpoint-2'}" in printed.out
    assert f"{run / 'checkpoint-4' / AVERAGE}: missing" in printed.err
    file = run / "checkpoint-4" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-100])  # cut off by a full disk
    train(run_settings)
    printed = capsys.readouterr()
    assert f"resuming from {run / 'checkpoint-2'}" in printed.out
    assert f"warning: {file}: damaged or cut off" in printed.err
    (run / "checkpoint-2" / "trainer_state.json").write_text("")  # or while deleting
    (run / "checkpoint-4" / "optimizer.pt").unlink()
    train(run_settings)
    assert sorted(p.name for p in run.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert "resuming" not in capsys.readouterr().out

    other = settings(flickr, start, run, epochs=9, patience=1, rate=2e-3)
    with pytest.raises(OptionError, match=r"a run with --rate 0.0003; give the same, or another"):
        train(other)
    assert json.loads((run / "settings.json").read_text())["rate"] == 3e-4
    done = settings(flickr, start, tmp_path / "done", epochs=1.5)
    train(done)
    capsys.readouterr()
    train(done)
    assert f"finished at {tmp_path / 'done' / 'checkpoint-3'}" in capsys.readouterr().out
    captions = flickr / "Flickr8k.token.txt"
    captions.write_text(captions.read_text().replace("number 1", "number one"))
    with pytest.raises(OptionError, match="a run on other photos or captions"):
        train(run_settings)


def train_whole(flickr, start, tmp_path, **options):
    """A run that nothing interrupts; returns its settings."""
    run_settings = settings(flickr, start, tmp_path / "whole", **options)
    train(run_settings)
    return run_settings


def build_command(run_settings, output, launcher=("-m",)):
    """The command line of these settings, with another run folder."""
    given = {"data", "checkpoint", "cache", "batch_size", "epochs", "rate", "encoder_rate"}
    given |= {"evaluations", "patience", "dropout", "mirror", "crop", "fp32", "accumulate"}
    words = [sys.executable, *launcher, "training.train", "--output", str(output)]
    for name in given:
        value = getattr(run_settings, name)
        if value is not False:
            values = value if isinstance(value, tuple) else [] if value is True else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


def check_same_weights(one, other, **tolerance):
    for name in ("model.safetensors", AVERAGE):
        theirs = load_file(other / name)
        for key, value in load_file(one / name).items():
            torch.testing.assert_close(theirs[key], value, **tolerance)


@pytest.mark.slow
def test_killed_and_resumed_is_uninterrupted(flickr, start, tmp_path):
    options = dict(epochs=40, encoder_rate=1e-3, mirror=True, patience=999)
    run_settings = train_whole(flickr, start, tmp_path, **options)
    killed = build_command(run_settings, tmp_path / "killed")
    run = subprocess.Popen(killed, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "killed").glob(f"checkpoint-*/{AVERAGE}")):
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    run.kill()  # SIGKILL: nothing can be tidied up
    run.wait()
    assert not (tmp_path / "killed" / "checkpoint-80").exists()
    train(dataclasses.replace(run_settings, output=str(tmp_path / "killed")))
    folders = (tmp_path / run / "checkpoint-80" for run in ("whole", "killed"))
    check_same_weights(*folders, atol=0, rtol=0)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(flickr, start, tmp_path):
    """Same photos a step, same gradients; the captions of both parts of dev come together."""
    options = dict(epochs=2, encoder_rate=1e-3, patience=99, dropout=0)
    options |= dict(mirror=True, crop=0.5)
    run_settings = train_whole(flickr, start, tmp_path, **options)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    command = build_command(run_settings, tmp_path / "two", launcher)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = [
        json.loads((tmp_path / r / "checkpoint-4" / "trainer_state.json").read_text())
        for r in ("whole", "two")
    ]
    for one, two in zip(*(state["log_history"] for state in states), strict=True):
        for key in ("loss", "grad_norm", "eval_cider", "eval_distinct"):
            if key in one:
                assert one[key] == pytest.approx(two[key], rel=1e-4)
    folders = (tmp_path / run / "checkpoint-4" for run in ("whole", "two"))
    check_same_weights(*folders, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_step_in_parts_is_the_same_step(flickr, start, tmp_path):
    """Captions of unequal length: the parts count by their tokens."""
    text = (flickr / "Flickr8k.token.txt").read_text().splitlines()
    text[0] += " and on and on through the grass ."
    (flickr / "Flickr8k.token.txt").write_text("\n".join(text) + "\n")
    options = dict(epochs=2, batch_size=4, encoder_rate=1e-3, dropout=0)
    train_whole(flickr, start, tmp_path, **options)
    train(settings(flickr, start, tmp_path / "parts", **options, accumulate=4))
    folders = (tmp_path / run / "checkpoint-2" for run in ("whole", "parts"))
    check_same_weights(*folders, atol=1e-5, rtol=1e-4)
    with pytest.raises(OptionError, match="--batch-size 4: not a multiple of 3"):
        train(settings(flickr, start, tmp_path / "odd", **options, accumulate=3))


@pytest.mark.slow
def test_a_run_with_adapters_leaves_a_plain_captioner(flickr, start, tmp_path):
    train(settings(flickr, start, tmp_path / "run", tune="lora", rate=1e-2))
    before, best = (load(f).network.state_dict() for f in (start, tmp_path / "run" / "best"))
    moved = {k for k in before if (before[k] - best[k]).abs().max() > 1e-3}
    assert moved and all(".blocks." in k and k.endswith("weight") for k in moved)


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run(flickr, start, tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise CheckpointError("weights that half precision cannot hold")

    monkeypatch.setattr("training.loop.trainer.replace_checkpoint", refuse)
    for rate, evaluations, message in (
        (1e30, 0.1, "the loss is nan at step"),
        (1e30, 1, "the dev loss is nan at step"),
        (1e-3, 1, "the weights cannot be saved at step"),
    ):
        output = tmp_path / f"{rate} {evaluations}"
        options = dict(rate=rate, epochs=9, evaluations=evaluations)
        assert main(build_command(settings(flickr, start, output, **options), output)[3:]) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert message in line and "try a lower --rate" in line


@pytest.mark.slow
@pytest.mark.parametrize("train_photos", [4, 1])
def test_one_dev_photo_is_judged_by_its_loss(flickr, start, tmp_path, capsys, train_photos):
    """CIDEr, which is 0 whatever is said of it, would keep the first captioner and stop."""
    names = [f"{i}.jpg" for i in range(train_photos)]
    (flickr / "Flickr_8k.trainImages.txt").write_text("\n".join(names))
    (flickr / "Flickr_8k.devImages.txt").write_text("5.jpg")
    train(settings(flickr, start, tmp_path / "run", epochs=4, patience=1))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert len(losses) == 4 and losses == sorted(losses, reverse=True)
    printed = capsys.readouterr()
    warning = "warning: dev photos: 1, with nothing in their captions to tell them apart"
    assert warning in printed.err
    assert f"best dev loss {losses[-1]:.3f} (dev CIDEr was 0 throughout)" in printed.out
    (item,) = read_split(flickr, "dev")
    best = load(tmp_path / "run" / "best").network
    loss, labels = sum_losses(best, best.encode([item.path])[0], item.captions)
    assert loss / labels == pytest.approx(losses[-1], rel=1e-2)  # saved in half precision


def test_the_dev_loss_is_that_of_training(flickr):
    network, items = tiny_captioner().network, read_split(flickr, "train")
    items[0].captions[0] += " and on and on"
    batch = collate([CaptionDataset(items, network)[i] for i in range(len(items))])
    with torch.no_grad():
        expected = Learner(network, 0).eval()(**batch)["loss"].item()
    encoded = network.encode([item.path for item in items])
    sums = [sum_losses(network, e, i.captions) for e, i in zip(encoded, items, strict=True)]
    loss, labels = map(sum, zip(*sums, strict=True))
    assert loss / labels == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_single_step_learns(flickr, start, tmp_path):
    train(settings(flickr, start, tmp_path / "run", epochs=1, batch_size=4))
    before, best = (load(f).network.state_dict() for f in (start, tmp_path / "run" / "best"))
    assert any((before[k] - best[k]).abs().max() > 1e-4 for k in before)


def test_a_reward_that_no_caption_earns(flickr, start, tmp_path):
    table = flickr / "Flickr8k.token.txt"
    names = [f"{i}.jpg" for i in range(6)]
    table.write_text("".join(f"{n}#0\ta dog\n{n}#1\tit runs\n" for n in names))
    with pytest.raises(OptionError, match="--samples: no caption earns a reward, .*; leave"):
        train(settings(flickr, start, tmp_path / "run", samples=2))


@pytest.mark.slow
def test_the_run_folder(flickr, start, tmp_path, capsys):
    train(settings(flickr, start, tmp_path / "run", epochs=2))
    run = tmp_path / "run"
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in log if "eval_cider" in e] == [1, 2]
    assert all(e["images_per_second"] > 0 for e in log if "loss" in e)
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run / "data.json").read_text())["train"]["photos"] == 4
    assert list(run.rglob("events.out.tfevents.*"))
    assert {"settings.json", "best", "checkpoint-4"} <= {p.name for p in run.iterdir()}


@pytest.mark.slow
def test_two_corpora_each_by_its_share(flickr, start, tmp_path):
    """Half of an epoch from each, though the one has four photos and the other two."""
    other = tmp_path / "other"
    other.mkdir()
    write_flickr8k(other)
    (other / "Flickr_8k.trainImages.txt").write_text("0.jpg\n1.jpg\n")
    for photo in (other / "images").glob("*.jpg"):
        with photo.open("ab") as file:
            file.write(b"not the same file")
    data, run = (str(flickr), str(other)), tmp_path / "run"
    options = dict(data=data, data_shares=(1, 1), epochs=2, samples=2, captions_weight=1.0)
    train(settings(flickr, start, run, **options))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (scores, _) = [entry for entry in log if "eval_cider" in entry]
    each = [scores[f"eval_cider_{Path(name).name}"] for name in data]
    assert scores["eval_cider"] == pytest.approx(sum(each) / 2)
    record = json.loads((run / "settings.json").read_text())
    assert record["data"] == list(data) and record["data_shares"] == [1, 1]
    train(settings(flickr, start, run, **options))  # the same run, which has ended
    with pytest.raises(OptionError, match="--data-shares"):
        train(settings(flickr, start, run, **options | {"data_shares": (1, 2)}))


@pytest.mark.slow
def test_best_holds_the_averaged_weights(flickr, start, tmp_path):
    train(settings(flickr, start, tmp_path / "run", epochs=1))
    best = load(tmp_path / "run" / "best").network.state_dict()
    average = load_file(tmp_path / "run" / "checkpoint-2" / AVERAGE)
    raw = load_file(tmp_path / "run" / "checkpoint-2" / "model.safetensors")
    best_key = "decoder.blocks.0.mlp.up.weight"
    key = f"captioner.{best_key}"
    torch.testing.assert_close(best[best_key], average[key].half().float())
    assert not torch.equal(average[key], raw[key])


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
        ("--data-shares", 0, "must be above 0"),
        ("--captions-weight", 0.1, "only allowed with --samples"),
        ("--teacher", "magic", "invalid choice: 'magic'"),
        ("--tune", "magic", "invalid choice: 'magic'"),
        ("--crop", 0, "must be above 0 and at most 1"),
        ("--encoder-rate", -1, "must be 0 or above"),
        ("--encoder-blocks", 1, "give --encoder-rate too"),
        ("--patch-dropout", 0.5, "give --encoder-rate too"),
        ("--teacher", "efficientnet-lite0", "give --encoder-rate too"),
        ("--width", 64, "only allowed with --encoder"),
        ("--lora-rank", 4, "only allowed with --tune lora"),
    ):
        with pytest.raises(SystemExit):
            parse_settings(["--data", "photos", "--output", "run", option, str(value)])
        assert f"{option}: {message}" in capsys.readouterr().err
    for more, message in (
        (["--checkpoint", tmp_path / "none"], "no such checkpoint folder"),
        (["--data", tmp_path / "none"], "found neither"),
    ):
        arguments = ["--data", flickr, "--checkpoint", start, "--output", tmp_path / "run", *more]
        assert main([*map(str, arguments), "--cache", str(tmp_path / "cache"), "--fp32"]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and message in error


@pytest.mark.slow
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


def test_a_photo_without_words_in_its_captions_is_not_scored(flickr, no_java):
    network, items = tiny_captioner().network, read_split(flickr, "train")
    whole = evaluate_network(network, items[1:])
    items[0].captions[:] = ["...", "!"]
    items[1].captions.insert(0, ".")
    result = evaluate_network(network, items)
    assert result["unscored"] == ["0.jpg"] and "0.jpg" in result["captions"]
    for name in ("CIDEr", "BLEU-4", "num_images", "people", "colours"):
        assert result[name] == whole[name]
    with pytest.raises(ValueError, match="none of the photos has a caption with words"):
        evaluate_network(network, items[:1])


def test_without_the_image_all_captions_are_one(flickr, no_java):
    network, items = tiny_captioner().network, read_split(flickr, "train")
    result = evaluate_network(network, items)
    features = network.encode([item.path for item in items])
    ((caption,),) = write_captions(
        network, features.mean(0, keepdim=True), choose_options(network.config)
    )
    assert result["no_image"]["caption"] == caption.text
