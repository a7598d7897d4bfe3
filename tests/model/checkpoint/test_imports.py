"""What a caption with the shipped checkpoint does without: importing these takes longer."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

PROGRAM = """
import sys
from model import load
captioner = load()
caption = captioner.caption("assets/examples/cat.jpg")
assert captioner.explain("assets/examples/cat.jpg", caption).heatmaps()
print([name for name in ("transformers", "torchvision", "huggingface_hub") if name in sys.modules])
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_neither_transformers_nor_torchvision_is_imported():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["[]", "False"], run.stdout
