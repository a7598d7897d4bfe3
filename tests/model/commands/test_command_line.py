"""`python -m model`: what scripts rely on, and one clear line for whatever is wrong."""

import os
import subprocess
import sys

import pytest

from model.checkpoint.hub import WEIGHTS


def test_an_output_that_cannot_be_written_is_said_before_the_work(
    run, photos, checkpoint, tmp_path, monkeypatch
):
    pytest.importorskip("ray")
    monkeypatch.setattr("model.commands.inputs.load", lambda *_, **__: pytest.fail("loaded"))
    monkeypatch.setattr("model.scale.ray_engine.load", lambda *_, **__: pytest.fail("loaded"))
    photo, file = photos / "a.jpg", photos / "b.jpg"
    for command, output in (
        (["caption", photo], tmp_path / "none" / "x.csv"),
        (["caption", photo], photos),
        (["explain", photo], tmp_path / "none" / "maps.png"),
        (["explain", photo], file / "maps.png"),
        (["compare", photo, "--checkpoints", "shipped", "x"], file),
        (["caption", photo, "--engine", "ray"], file),
    ):
        status, out, err = run(*command, "--output", output)
        assert (status, out, err.count("\n")) == (1, "", 1) and str(output) in err
    assert file.read_text() == "not a photo"
    assert not (tmp_path / "none").exists()


def test_info(run, checkpoint):
    status, out, _ = run("info", "--checkpoint", checkpoint)
    assert status == 0
    assert "56 × 56 pixels, 4 × 4 patches and 1 prefix tokens" in out
    assert "2 layers, 2 heads, 32 wide" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["caption", "{photos}/nowhere.jpg"], "nowhere.jpg"),
        (["caption", "{photos}/b.jpg"], "b.jpg"),
        (["caption", "{photos}/empty"], "empty"),
        (["caption", "{photos}/a.jpg", "--num-beams", "0"], "num_beams must be"),
        (["caption", "{photos}/a.jpg", "--num-beams", "2", "--num-captions", "3"], "num_captions"),
        (["caption", "{photos}/a.jpg", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["caption", "{photos}/a.jpg", "--output", "{photos}/no/where.txt"], "where.txt"),
        (["explain", "{photos}/b.jpg", "--output", "{photos}/x.png"], "b.jpg"),
        (["explain", "{photos}/a.jpg", "--output", "{photos}/x.gif"], "must end in .png"),
        (["explain", "{photos}/a.jpg", "--text", " ", "--output", "{photos}/x.png"], "no word"),
        (
            ["explain", "{photos}/a.jpg", "--method", "magic", "--output", "{photos}/x.png"],
            "unknown method 'magic'; choose from attention",
        ),
    ],
)
def test_bad_input_is_one_line(run, photos, checkpoint, arguments, message):
    (photos / "empty").mkdir()
    arguments = [a.format(photos=photos) for a in arguments]
    status, _, err = run(*arguments, "--checkpoint", checkpoint)
    assert status == 1
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_bad_checkpoint_is_one_line(run, photos, tmp_path):
    status, out, err = run("caption", photos / "a.jpg", "--checkpoint", tmp_path / "none")
    assert (status, out) == (1, "") and "no such checkpoint folder" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_as_a_program(photos, checkpoint):
    """The real process: status, streams, and what a reader that leaves early sees."""
    command = [sys.executable, "-m", "model", "caption", "--checkpoint", checkpoint]
    done = subprocess.run([*command, photos], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr

    # a reader that leaves at once: no trace, not even at exit, where buffered output is written
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    info = [sys.executable, "-m", "model", "info", "--checkpoint", checkpoint]
    with subprocess.Popen(
        info, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""

    usage = subprocess.run([*command[:3], "draw"], capture_output=True, text=True)
    assert usage.returncode == 2 and "invalid choice: 'draw'" in usage.stderr
    assert WEIGHTS not in usage.stderr
