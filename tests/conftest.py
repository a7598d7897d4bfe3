"""Set before torch, gradio and huggingface_hub are imported: they read these once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are slow when threads contend
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the network fails at once

import shutil  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

from tests.support.tiny import draw_photo, tiny_captioner  # noqa: E402
from tools.browser import CHROMIUM, FLAGS  # noqa: E402

NAMES = [f"{i}.jpg" for i in range(6)]
COLOURS = [(i * 50, 255 - i * 50, 90) for i in range(6)]


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
    """The corpus's own layout: four train photos and two dev photos, two captions each."""
    (tmp_path / "images").mkdir()
    for name, colour in zip(NAMES, COLOURS, strict=True):
        draw_photo(60, 60, colour).save(tmp_path / "images" / name)
    lines = [f"{n}#{k}\ta dog number {n[0]} runs left {k} ." for n in NAMES for k in (0, 1)]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[:4]) + "\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("\n".join(NAMES[4:]))
    return tmp_path


@pytest.fixture
def start(tmp_path):
    """A captioner to start from."""
    captioner = tiny_captioner(seed=1)
    with torch.no_grad():  # milder than a random captioner for tests of decoding
        for p in captioner.decoder.parameters():
            if p.dim() == 2:
                p.div_(6)
    captioner.save_pretrained(tmp_path / "start", torch.float32)
    return tmp_path / "start"
