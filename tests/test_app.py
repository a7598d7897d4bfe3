"""The page as its visitors see it: in a real browser, with a tiny captioner."""

import importlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.caption import CaptionWord
from model.explanation import SAME_FOR_ALL
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
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_captioner((42, 84)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    """The app, started as people start it."""
    folder = tmp_path_factory.mktemp("app")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "CAPTIONLENS_CHECKPOINT": str(checkpoint),
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
    # and the page goes on: what cannot be shown is gone, and the box takes another photo
    page.wait_for_selector("input[type=file]", state="attached")
    page.wait_for_function("!document.querySelector('[data-testid=status-tracker]:not(.hide)')")
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    assert wait_for_caption(page)


def test_a_word_is_text(checkpoint, monkeypatch):
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", str(checkpoint))
    app = importlib.import_module("app")
    word = CaptionWord("<b>*x*</b>", 0.001, 0, 1)
    shown, fact = app.Reading(draw_photo(), [word], [np.ones((2, 3))], [0.998], [None], None).shown(
        0
    )
    assert shown.size == draw_photo().size
    assert fact.startswith("“&lt;b&gt;*x*&lt;/b&gt;”: the model gave this word less than 1%. 100%")
    needless = "“<b>*x*</b>” hardly needs the photo"
    same = app.Reading(draw_photo(), [word], [np.ones((2, 3))], [1.0], [needless], SAME_FOR_ALL)
    _, fact = same.shown(0)
    assert "&lt;b&gt;*x*&lt;/b&gt;” hardly needs the photo" in fact and "<b>" not in fact
    assert fact.endswith("they show one place for all of them.")


def test_a_new_caption_begins_without_the_maps_of_the_last(checkpoint, monkeypatch):
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", str(checkpoint))
    app = importlib.import_module("app")
    words, seen, _, reading = next(app.caption_photo(draw_photo(), 1))
    assert (words, seen, reading) == ([], None, None)


def test_each_word_is_shown_with_its_own_map(checkpoint, monkeypatch):
    monkeypatch.setenv("CAPTIONLENS_CHECKPOINT", str(checkpoint))
    app = importlib.reload(importlib.import_module("app"))
    photo = draw_photo(90, 60)
    explanation = app.captioner.explain(photo, "a dog runs")
    reading = app.Reading.of(photo, explanation)
    for i, word in enumerate(("a", "dog", "runs")):
        shown, fact = reading.shown(i)
        expected = app.overlay(app.ImageOps.contain(photo, (768, 768)), explanation.heatmap(i))
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))
        assert fact.startswith(f"“{word}”")


def test_a_bad_checkpoint_is_one_line(tmp_path):
    environment = {**os.environ, "CAPTIONLENS_CHECKPOINT": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("none: no such checkpoint folder")
    assert "Traceback" not in done.stderr


def test_a_file_name_is_text(page, tmp_path):
    name = "<u>x<-u>.jpg"  # gradio itself drops the slash that would end the element
    (tmp_path / name).write_text("not a photo")
    upload(page, tmp_path / name)
    assert name in page.wait_for_selector(".toast-body").inner_text()
    assert not page.query_selector(".toast-body u")


def test_taking_the_photo_away_clears_the_page(page, tmp_path):
    draw_photo().save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    page.get_by_label("Remove Image").click()
    page.wait_for_selector("#map img", state="detached")
    page.wait_for_selector(WORDS, state="detached")
    assert not page.query_selector(".toast-body")


def test_the_endpoint_gives_the_text(address, tmp_path):
    gradio_client = pytest.importorskip("gradio_client")
    draw_photo().save(tmp_path / "photo.png")
    (tmp_path / "notes.jpg").write_text("not a photo")
    client = gradio_client.Client(address, verbose=False)
    photo = gradio_client.handle_file(tmp_path / "photo.png")
    text = client.predict(photo, 3, api_name="/caption")
    assert isinstance(text, str) and text
    with pytest.raises(gradio_client.exceptions.AppError, match="notes.jpg: not an image"):
        client.predict(gradio_client.handle_file(tmp_path / "notes.jpg"), 3, api_name="/caption")


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
    assert (width, height) == (256, 768)


def test_visitors_do_not_see_each_other(browser, page, address, tmp_path):
    draw_photo().save(tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png")
    wait_for_caption(page)
    other = browser.new_page()
    other.goto(address)
    other.wait_for_selector("input[type=file]", state="attached")
    assert not other.query_selector("#map img") and not other.query_selector_all(WORDS)
    draw_photo(50, 90, (0, 0, 250)).save(tmp_path / "theirs.png")
    upload(other, tmp_path / "theirs.png")
    wait_for_caption(other)
    # the first visitor's words still bring the first visitor's photo
    page.locator(WORDS).last.click()
    page.wait_for_function("document.querySelector('#map img').naturalWidth")
    assert page.evaluate("document.querySelector('#map img').naturalWidth") == 768
    other.close()


def test_an_example_is_one_click(page):
    page.locator("button.gallery-item, .gallery-item").first.click()
    assert wait_for_caption(page)


def test_on_a_phone_the_caption_comes_first_and_nothing_overflows(page, tmp_path):
    page.set_viewport_size({"width": 390, "height": 844})
    draw_photo(300, 200).save(tmp_path / "photo.png")
    upload(page, tmp_path / "photo.png")
    wait_for_caption(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#words").bounding_box()["y"] < 844 / 2, "the caption comes first"
