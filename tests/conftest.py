"""Set before torch, gradio and huggingface_hub are imported: they read these once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are slow when threads contend
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the network fails at once

import shutil  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

from tests.support.flickr import write_flickr8k  # noqa: E402
from tests.support.tiny import tiny_captioner  # noqa: E402
from tools.browser import CHROMIUM, FLAGS  # noqa: E402


@pytest.fixture(scope="session")
def browser():
    """Chromium, for the tests that see the page as its visitors do."""
    if not shutil.which(CHROMIUM):
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and CI must run the browser tests")
        pytest.skip(f"{CHROMIUM} is missing; install Debian's chromium to run the browser tests")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny captioner's folder, to be read only."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_captioner().save_pretrained(folder)
    return folder


@pytest.fixture
def flickr(tmp_path):
    """A folder of captioned photos, as `write_flickr8k` writes it."""
    write_flickr8k(tmp_path)
    return tmp_path


@pytest.fixture
def start(tmp_path):
    """A captioner to start from."""
    captioner = tiny_captioner(seed=1)
    with torch.no_grad():  # milder than a random captioner for tests of decoding
        for p in captioner.network.decoder.parameters():
            if p.dim() == 2:
                p.div_(6)
    captioner.save_pretrained(tmp_path / "start", torch.float32)
    return tmp_path / "start"
