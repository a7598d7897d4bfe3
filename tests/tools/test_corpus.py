"""Pillow's own test images and damaged copies of them: an image or one clear line, never else."""

import os
import re
import subprocess
import sys

import pytest

from tools.corpus import FOLDER, fetch_images

pytestmark = pytest.mark.slow  # each starts a program


def test_every_file_gives_an_image_or_one_line():
    """A sixth of the files, with a damaged copy each; `python -m tools.corpus` does all."""
    try:
        fetch_images(FOLDER)
    except subprocess.CalledProcessError:
        if os.environ.get("CI"):
            raise
        pytest.skip("the package registry, which has Pillow's test images, cannot be reached")
    command = [sys.executable, "-m", "tools.corpus", "--copies", "1", "--limit", "6"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout
    (images,) = re.findall(r"'images': (\d+)", run.stdout)
    assert int(images) > 100, run.stdout
