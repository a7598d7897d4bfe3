"""A fault of the program is never reported as the user's mistake."""

import pytest

from model.network.decoder import TextDecoder
from training import evaluate, train


def fail_strict_zip(*_, **__):
    list(zip([1], [1, 2], strict=True))


@pytest.mark.parametrize("command", [train, evaluate])
def test_a_slip_is_a_traceback_and_status_2(command, flickr, start, tmp_path, monkeypatch, capsys):
    arguments = ["--data", str(flickr), "--checkpoint", str(start)]
    arguments += ["--output", str(tmp_path / "output")]
    if command is evaluate:
        arguments += ["--split", "train"]
    monkeypatch.setattr(TextDecoder, "forward", fail_strict_zip)
    assert command.main(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and "fail_strict_zip" in err
    assert "error: a fault in CaptionLens; please report the lines above\n" in err
