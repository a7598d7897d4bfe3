"""The page as its visitors see it: in a real browser, with a tiny captioner."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import draw_photo, tiny_captioner

ROOT = Path(__file__).parent.parent
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WORDS = "#words .token"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The app, started as people start it."""
    folder = tmp_path_factory.mktemp("app")
    tiny_captioner((42, 84)).save_pretrained(folder / "checkpoint")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "CAPTIONLENS_CHECKPOINT": str(folder / "checkpoint"),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
    }
    log = (folder / "log").open("w+")
    app = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except OSError:
                log.seek(0)
                assert app.poll() is None and time.monotonic() < deadline, log.read()
                time.sleep(0.2)
        yield address
        log.seek(0)
        assert "Traceback" not in log.read()
    finally:
        app.terminate()
        app.wait(20)
        log.close()


@pytest.fixture(scope="module")
def browser():
    if not shutil.which(CHROMIUM):
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing, and CI must run the browser tests")
        pytest.skip(f"{CHROMIUM} is missing; install Debian's chromium to run the browser tests")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached")
    yield page
    outside = [url for url in requested if not url.startswith((address, "data:", "blob:"))]
    assert not outside, "the page asked other hosts"
    page.close()


def upload(page, path):
    page.set_input_files("input[type=file]", path)


def map_source(page):
    return page.get_attribute("#map img", "src")


def wait_for_caption(page):
    """Until the caption is whole: then the map is there."""
    page.wait_for_selector("#map img")
    return [word.inner_text().strip() for word in page.query_selector_all(WORDS)]


def test_photo_to_caption_to_map(page, tmp_path):
    draw_photo(320, 120).save(tmp_path / "wide.png")
    upload(page, tmp_path / "wide.png")
    words = wait_for_caption(page)
    assert len(words) >= 2 and all(words)

    seen = set()
    for index in (0, len(words) - 1):
        before = map_source(page)
        page.locator(WORDS).nth(index).click()
        # what is said belongs to the word that was clicked...
        page.wait_for_function(
            "word => document.querySelector('#fact').innerText.startsWith('“' + word + '”')",
            arg=words[index],
        )
        # ...and the picture comes with it, unless it was this word's already
        page.wait_for_function(
            "([before, seen]) => { const img = document.querySelector('#map img');"
            "  return img.complete && img.naturalWidth && (img.src !== before || seen) }",
            arg=[before, index == 0],
        )
        seen.add(map_source(page))
    assert len(seen) == 2, "choosing another word must change the map"

    width, height = page.evaluate(
        "() => { const i = document.querySelector('#map img');"
        " return [i.naturalWidth, i.naturalHeight] }"
    )
    assert width / height == pytest.approx(320 / 120, rel=0.02)


def test_a_file_that_is_no_photo(page, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a photo")
    upload(page, tmp_path / "notes.jpg")
    toast = page.wait_for_selector(".toast-body")
    text = toast.inner_text()
    assert "notes.jpg: not an image that can be opened" in text
    assert "Traceback" not in text and "/tmp" not in text
    # and the page goes on
    draw_photo().save(tmp_path / "photo.png")
    page.reload()
    page.wait_for_selector("input[type=file]", state="attached")
    upload(page, tmp_path / "photo.png")
    assert wait_for_caption(page)


def test_button_without_a_photo_and_a_photo_on_its_side(page, tmp_path):
    page.get_by_role("button", name="Caption", exact=True).click()
    assert "Choose a photo first" in page.wait_for_selector(".toast-body").inner_text()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, the photo is 40 wide and 120 high
    draw_photo(120, 40).save(tmp_path / "turned.jpg", exif=exif)
    upload(page, tmp_path / "turned.jpg")
    wait_for_caption(page)
    page.wait_for_function("document.querySelector('#map img').naturalWidth")
    width, height = page.evaluate(
        "() => { const i = document.querySelector('#map img');"
        " return [i.naturalWidth, i.naturalHeight] }"
    )
    assert (width, height) == (40, 120)


def test_visitors_do_not_see_each_other(browser, page, address, tmp_path):
    draw_photo().save(tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png")
    wait_for_caption(page)
    other = browser.new_page()
    other.goto(address)
    other.wait_for_selector("input[type=file]", state="attached")
    assert not other.query_selector("#map img") and not other.query_selector_all(WORDS)
    other.close()


def test_an_example_is_one_click(page):
    page.locator("button.gallery-item, .gallery-item").first.click()
    assert wait_for_caption(page)


def test_on_a_phone_nothing_overflows(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 844})
    draw_photo(300, 200).save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
