"""An output that cannot be written is said before photos are read or captioners loaded."""

import importlib

import pytest


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """What nothing can be written to, by name."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    return {
        "nowhere": tmp_path / "nowhere" / "x.png",
        "folder": tmp_path / "folder",
        "file": tmp_path / "file",
        "below": tmp_path / "file" / "x.png",
    }


@pytest.mark.parametrize("output", ["nowhere", "folder", "below"])
@pytest.mark.parametrize(
    "module, arguments",
    [
        ("evaluate", ["--data", "photos"]),
        ("evaluate_maps", ["--data", "photos"]),
        ("check", ["photos"]),
    ],
)
def test_files(paths, capsys, module, arguments, output):
    # had it looked for the photos first, it would name them
    main = importlib.import_module(f"training.{module}").main
    assert main([*arguments, "--output", str(paths[output])]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {paths[output]}: ") and error.count("\n") == 1
    assert not paths["nowhere"].parent.exists()


@pytest.mark.parametrize("output", ["file", "below"])
@pytest.mark.parametrize(
    "module, arguments",
    [
        ("train", ["--data", "photos", "--output"]),
        ("train", ["--data", "photos", "--output", "runs/x", "--cache"]),
        ("average", ["a", "b", "--output"]),
        ("export", ["a", "--output"]),
        ("draw", []),
    ],
)
def test_folders(paths, capsys, module, arguments, output):
    main = importlib.import_module(f"training.{module}").main
    assert main([*arguments, str(paths[output])]) == 1
    error = capsys.readouterr().err
    assert str(paths["file"]) in error and error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_sheet_that_is_no_picture(tmp_path, capsys):
    from training.check import main

    for name in ("x.xyz", "sheet"):
        assert main(["photos", "--output", str(tmp_path / name)]) == 1
        assert f"{name}: give a name that ends in .png" in capsys.readouterr().err
