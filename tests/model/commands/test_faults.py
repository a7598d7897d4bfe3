"""A fault of the program is never reported as the user's mistake."""

import pytest

from model.__main__ import main
from model.network.decoder import TextDecoder
from tests.support.tiny import draw_photo


def raise_value_error(*_, **__):
    raise ValueError("a slip in the network")


def fail_strict_zip(*_, **__):
    list(zip([1], [1, 2], strict=True))


@pytest.fixture
def photo(tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize("slip", [raise_value_error, fail_strict_zip])
@pytest.mark.parametrize("command", ["caption", "explain", "compare"])
def test_a_slip_is_a_traceback_and_status_2(
    command, slip, photo, checkpoint, tmp_path, monkeypatch, capsys
):
    arguments = {
        "caption": ["--checkpoint", str(checkpoint)],
        "explain": ["--checkpoint", str(checkpoint), "--output", str(tmp_path / "maps.json")],
        "compare": ["--checkpoints", str(checkpoint), f"{checkpoint}/."],
    }[command]
    monkeypatch.setattr(TextDecoder, "forward", slip)
    assert main([command, photo, *arguments]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and slip.__name__ in err
    assert err.endswith("error: a fault in CaptionLens; please report the lines above\n")


@pytest.mark.parametrize("debug", ["", "1"])
def test_the_trace_of_a_users_mistake_is_shown_when_asked_for(
    debug, checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CAPTIONLENS_DEBUG", debug)
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a photo")
    for command in (["caption"], ["explain", "--output", str(tmp_path / "maps.png")]):
        arguments = [*command, str(bad), "--checkpoint", str(checkpoint)]
        assert main(arguments) == 1
        err = capsys.readouterr().err
        assert ("Traceback" in err) == bool(debug)
        assert err.splitlines()[-1].startswith(f"error: {bad}: not an image")
