"""The lesson's tab, in a browser."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from model import load
from model.search.caption import Caption, add_probabilities
from tests.support.hub import PHOTOS, encoder_decoder, save
from tests.support.tiny import draw_photo
from ui.lesson import tab as lesson_tab
from ui.serving.captioners import Captioners

LIVE = "[aria-live=polite]"


HOSTILE = "A <img/src=x/onerror=x()> ${1+1} dog"


@pytest.fixture(scope="module")
def lesson_address(captioner, tmp_path_factory):
    """The tab alone, with a captioner whose words are not to be trusted."""
    folder = tmp_path_factory.mktemp("lesson")
    captioner.save_pretrained(folder / "checkpoint")
    draw_photo(90, 60).save(folder / "brought.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLENS_CHECKPOINT", str(folder / "checkpoint"))
        captioners = Captioners()
    loaded = captioners.get()
    tokens, words = loaded.network.tokenizer.encode(HOSTILE)
    written = Caption(HOSTILE, add_probabilities(words, [-1.0] * len(tokens)), -1.0, (*tokens, 1))
    loaded.caption = lambda *_, **__: written
    with gr.Blocks() as demo:
        model = gr.Dropdown(captioners.names, value=captioners.names[0], label="Model")
        photo = lesson_tab.build(captioners, model).photo
        gr.Button("Bring").click(lambda: str(folder / "brought.png"), None, [photo])
    css = (Path(lesson_tab.__file__).parent / "lesson.css").read_text()
    _, address, _ = demo.launch(
        _frontend=False,  # else gradio waits 3 s, too little on a busy machine
        prevent_thread_lock=True,
        quiet=True,
        css=css,
        run_history=False,
    )
    yield address
    demo.close()


@pytest.fixture
def page(browser, lesson_address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(lesson_address)
    page.wait_for_selector("input[type=file]", state="attached")
    yield page
    outside = [u for u in requested if not u.startswith((lesson_address, "data:", "blob:"))]
    assert not outside, "the page asked other hosts"
    page.close()


@pytest.mark.browser
def test_photo_to_lesson_to_another_word(page, tmp_path):
    draw_photo(320, 120).save(tmp_path / "photo.png")
    page.set_input_files("input[type=file]", tmp_path / "photo.png")
    page.wait_for_selector("text=6. And if it may not look?")
    assert page.locator(".lesson-caption").inner_text() == HOSTILE
    assert "looked most at row" in page.locator(f"{LIVE}:has(.lesson)").inner_text()
    words = page.get_by_role("radio")
    assert words.count() == 4

    # every word, layer and head can be had, and the words are text wherever they are shown
    for i, word in enumerate(HOSTILE.split()):
        words.nth(i).check()
        page.wait_for_selector(f"text=is about to choose “{word}”")
    seen = set()
    for layer, head in ((0, 1), (1, 0)):
        for name, value in (("Layer, from 0", layer), ("Head, from 0", head)):
            page.get_by_label(name).click()
            page.get_by_role("option", name=str(value)).click()
            page.get_by_role("option").first.wait_for(state="detached")  # the list closes slowly
        page.wait_for_selector(f"text=head {head} of layer {layer} looked")
        seen.add(page.locator(".lesson-sides img").first.get_attribute("src"))
    assert len(seen) == 2
    assert not page.query_selector("img[src=x]")

    torch_and_numpy = page.locator("text=The model itself runs in torch").locator("strong")
    assert all(0 <= float(text) < 1e-5 for text in torch_and_numpy.all_inner_texts())
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.get_by_label("Remove Image").click()
    page.wait_for_selector("text=Choose a photo, and the lesson begins.")
    assert not page.query_selector("text=1. The query")


@pytest.mark.browser
def test_a_photo_that_the_page_brings_begins_the_lesson(page):
    page.get_by_role("button", name="Bring").click()
    page.wait_for_selector("text=6. And if it may not look?")


@pytest.mark.browser
def test_a_file_that_is_no_photo(page, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a photo")
    page.set_input_files("input[type=file]", tmp_path / "notes.jpg")
    assert "notes.jpg: not an image" in page.wait_for_selector(".toast-body").inner_text()
    page.wait_for_selector("input[type=file]", state="attached")
    page.wait_for_selector(f"{LIVE}:has-text('Choose a photo, and')")


def test_the_lesson_needs_our_decoder(tmp_path):
    """The page says so instead of a photo's lesson."""
    folders = {
        decoder: save(tmp_path / decoder, *encoder_decoder("vit", decoder))
        for decoder in ("bert", "gpt2")
    }
    captioners = SimpleNamespace(get=lambda name: load(folders[name]))
    *_, (lesson, *updates) = lesson_tab.start_lesson(captioners, PHOTOS[0], "bert")
    assert lesson is None and "takes our own decoder apart" in str(updates)
    *_, (lesson, *updates) = lesson_tab.start_lesson(captioners, PHOTOS[0], "gpt2")
    assert lesson.caption.words and "takes our own" not in str(updates)
