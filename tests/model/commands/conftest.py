"""What the tests of the commands share."""

import pytest

from model.__main__ import main
from tests.support.tiny import draw_photo


@pytest.fixture(scope="module")
def checkpoint(checkpoint):
    return str(checkpoint)  # as it is typed


@pytest.fixture
def photos(tmp_path):
    """Three photos, one of them in a folder of the folder, and a text file that is named .jpg."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    draw_photo().save(folder / "a.jpg")
    draw_photo(40, 60, (0, 0, 255)).save(folder / "c.png")
    draw_photo(50, 50, (0, 255, 0)).save(folder / "more" / "d.webp")
    (folder / "b.jpg").write_text("not a photo")
    return folder


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run
