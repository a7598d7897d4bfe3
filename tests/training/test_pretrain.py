"""A decoder that knows the language of captions before it sees photos."""

import random
import shutil

import pytest
import torch

from model import load
from model.explain.replay import score_tokens
from training.loop.run_trainer import RunTrainer
from training.pretrain import main

SUBJECTS, VERBS, PLACES = ("dog", "cat", "man"), ("runs", "sits", "sleeps"), ("grass", "sand")


@pytest.fixture
def text(tmp_path):
    """Captions, one a line, as corpora write them; some lines are none."""
    draw = random.Random(0)
    lines = [
        f"a {draw.choice(SUBJECTS)} {draw.choice(VERBS)} on {draw.choice(PLACES)} {number} ."
        for number in range(400)
    ]
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*lines, "", "...", lines[0]]) + "\n", encoding="utf-8")
    return path


def build_command(text, start, output, **changes):
    """The command line; `start` has the encoder."""
    options = {"text": text, "encoder": start, "output": output, "image-size": 32, "width": 16}
    options |= {"layers": 1, "heads": 2, "vocab-size": 320, "epochs": 2, "batch-size": 20}
    options |= {"rate": 1e-2} | changes
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_it_learns_the_language_and_keeps_the_encoder(text, start, tmp_path, capsys):
    earlier = load(start)
    side = earlier.network.config.image_size[0]
    command = build_command(text, start, tmp_path / "run", **{"image-size": side, "epochs": 6})
    assert main(command) == 0
    assert "396 captions; " in capsys.readouterr().out
    network = load(tmp_path / "run" / "best").network
    assert network.config.width == 16 and network.config.image_size == (side, side)
    for name, weight in earlier.network.encoder.state_dict().items():
        torch.testing.assert_close(network.encoder.state_dict()[name], weight.half().float())
    nothing = torch.zeros(1, 1, network.config.image_width)

    def rate(sentence):
        tokens, _ = network.tokenizer.encode(sentence)
        return score_tokens(network, nothing, tokens)[0, : len(tokens)].mean()

    assert rate("A dog runs on sand") > rate("Sand runs a on dog") + 1


@pytest.mark.slow
def test_resumed_is_uninterrupted(text, start, tmp_path, monkeypatch, capsys):
    side = load(start).network.config.image_size[0]
    options = {"image-size": side, "epochs": 3}
    assert main(build_command(text, start, tmp_path / "whole", **options)) == 0
    whole = load(tmp_path / "whole" / "best").network.state_dict()

    class Interrupted(Exception):
        pass

    def stop(trainer, *args, **kwargs):
        save(trainer, *args, **kwargs)
        raise Interrupted

    save = RunTrainer._save_checkpoint
    with monkeypatch.context() as patched:
        patched.setattr(RunTrainer, "_save_checkpoint", stop)  # after the first pass
        assert main(build_command(text, start, tmp_path / "parts", **options)) == 2
    (first,) = (tmp_path / "parts").glob("checkpoint-*")
    cut = shutil.copytree(first, tmp_path / "parts" / "checkpoint-9999")  # as a lost machine leaves
    (cut / "model.safetensors").write_bytes(b"")
    assert main(build_command(text, start, tmp_path / "parts", **options)) == 0
    assert "checkpoint-9999 is skipped" in capsys.readouterr().err
    for name, weight in load(tmp_path / "parts" / "best").network.state_dict().items():
        assert torch.equal(weight, whole[name])


def test_what_cannot_be_is_one_line(text, start, tmp_path, capsys):
    few = tmp_path / "few.txt"
    few.write_text("a dog runs\n" * 200)
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.json").write_text('{"rate": 5}')
    for changes, message in (
        ({"text": few}, "few.txt: 1 different captions"),
        ({"text": tmp_path / "none.txt"}, "none.txt: no such file"),
        ({"start": tmp_path}, f"error: {tmp_path}: "),
        ({"output": run}, "holds a run with "),
    ):
        given = {"text": text, "start": start, "output": tmp_path / "x"} | changes
        assert main(build_command(**given)) == 1
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert message in line
    with pytest.raises(SystemExit):
        main(build_command(text, start, tmp_path / "x", width=0))
    assert "argument --width: must be at least 1, not 0" in capsys.readouterr().err
