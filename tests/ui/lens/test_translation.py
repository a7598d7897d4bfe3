"""A caption in another language in a browser: the menu, and its words by pointer, touch and
keyboard."""

import numpy as np
import pytest

from model import load
from model.translation import load_translator
from tests.support.tiny import draw_photo, tiny_captioner
from tests.support.translators import tiny_translator_of_words
from tests.support.uploads import encode_png
from tools.serving import serve_app
from ui.lens.translation_values import make_translation_value

pytestmark = pytest.mark.browser

LENS = "#caption-lens .lens"
DONE = f"{LENS}[data-state=done]:not(.busy)"
TARGETS = f"{LENS} .target"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("languages")
    tiny_captioner((42, 84), seed=1).save_pretrained(folder / "captioner")
    tiny_translator_of_words().save_pretrained(folder / "translator")
    draw_photo(90, 60).save(folder / "photo.png")
    (folder / "other.png").write_bytes(encode_png((0, 90, 200)))
    return folder


@pytest.fixture(scope="module")
def address(folder):
    translator = str(folder / "translator")
    with serve_app(folder, folder / "captioner", CAPTIONLENS_TRANSLATOR=translator) as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


@pytest.fixture
def open_page(browser, address, folder):
    """Opens the page with a caption of the photo, translated."""
    pages, errors = [], []

    def open_page(**settings):
        page = browser.new_context(reduced_motion="reduce", **settings).new_page()
        pages.append(page)
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Options").first.click()
        page.get_by_label("Begin with").fill("A brown dog")  # a random captioner writes few words
        page.locator("input[type=file]").first.set_input_files(folder / "photo.png")
        page.wait_for_selector(DONE)
        page.select_option(f"{LENS} [name=language]", "xx")
        page.wait_for_selector(TARGETS)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert not errors


def read_words(page, selector):
    return [word.inner_text().strip() for word in page.query_selector_all(f"{LENS} {selector}")]


def read_shares(page):
    """How strongly each word of the caption is lit."""
    words = page.locator(f"{LENS} .word")
    shares = words.evaluate_all("all => all.map((one) => one.style.getPropertyValue('--looked'))")
    return [float(share or 0) for share in shares]


def test_a_word_lights_what_it_looked_at_and_through_it_the_photo(open_page, folder):
    page = open_page(viewport={"width": 1280, "height": 800})
    text = " ".join(read_words(page, ".word"))
    translation = load_translator(folder / "translator").translate(text, "xx")
    assert read_words(page, ".target") == [word.text for word in translation.words]
    alignment = np.array(make_translation_value(translation, text)["alignment"])
    captioner = load(folder / "captioner")
    maps = np.stack(captioner.explain(draw_photo(90, 60), text).heatmaps())  # (words, 3, 6)
    page.locator(f"{LENS} summary").click()
    page.select_option(f"{LENS} [name=colours]", "heat")  # more opaque where the map is higher
    last = len(alignment) - 1
    page.locator(TARGETS).nth(last).hover()
    np.testing.assert_allclose(
        read_shares(page), alignment[last] / alignment[last].max(), atol=1e-6
    )
    fact = page.inner_text(f"{LENS} .fact")
    strongest = text.split(" ")[alignment[last].argmax()]
    assert fact.startswith(f"Through the English caption: it looked at “{strongest}”")
    assert page.inner_text(f"{LENS} h3").startswith(f"“{translation.words[last].text}”")
    opacities = page.eval_on_selector(
        f"{LENS} .stage canvas",
        """canvas => [0, 1, 2].flatMap((row) => [0, 1, 2, 3, 4, 5].map((col) => canvas
          .getContext("2d")
          .getImageData((col + .5) * 512 / 6, (row + .5) * 512 / 3, 1, 1).data[3]))""",
    )
    mixed = np.tensordot(alignment[last], maps, axes=1)
    expected = 255 * (0.42 + 0.21 * np.sqrt(mixed / mixed.max())).ravel()
    np.testing.assert_allclose(opacities, expected, atol=6)  # of 116 to 160; the canvas smooths
    before = page.inner_text(f"{LENS} h3")
    page.mouse.move(5, 5)  # pointing only shows it
    assert page.inner_text(f"{LENS} h3") != before and not any(read_shares(page))
    page.locator(TARGETS).first.click()  # a click keeps it
    page.mouse.move(5, 5)
    assert page.locator(TARGETS).first.get_attribute("aria-pressed") == "true"
    assert max(read_shares(page)) == 1
    page.locator(f"{LENS} .word").first.click()
    assert page.locator(f"{TARGETS}[aria-pressed=true]").count() == 0


def test_by_keyboard(open_page):
    page = open_page(viewport={"width": 1280, "height": 800})
    last = page.locator(TARGETS).count() - 1
    page.locator(f"{LENS} .word[tabindex='0']").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("target")
    page.keyboard.press("End")
    assert page.locator(TARGETS).nth(last).get_attribute("aria-pressed") == "true"
    assert max(read_shares(page)) == 1
    page.keyboard.press("Home")
    first = read_words(page, ".target")[0]
    assert page.inner_text(f"{LENS} h3").startswith(f"“{first}”")


def test_by_touch_on_a_phone(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    target = page.locator(TARGETS).last
    target.tap()
    assert target.get_attribute("aria-pressed") == "true" and max(read_shares(page)) == 1
    assert page.inner_text(f"{LENS} h3").startswith(f"“{target.inner_text().strip()}”")
    assert min(target.bounding_box()[side] for side in ("width", "height")) >= 24
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_language_stays_for_the_next_photo_and_over_a_reload(open_page, folder):
    page = open_page(viewport={"width": 1280, "height": 800})
    first = read_words(page, ".target")
    page.select_option(f"{LENS} [name=language]", "yy")
    page.wait_for_function(
        f"first => document.querySelector('{TARGETS}')?.closest('ul').lang === 'yy'", arg=first
    )
    before = read_words(page, ".target")
    assert before != first
    page.reload()
    page.wait_for_selector(TARGETS)
    assert read_words(page, ".target") == before
    assert page.input_value(f"{LENS} [name=language]") == "yy"
    page.locator(f"{LENS} summary").click()
    page.select_option(f"{LENS} [name=method]", "attention")  # other maps, the same words
    page.wait_for_selector(f"{DONE}:has([name=method] option[value=attention]:checked)")
    assert read_words(page, ".target") == before
    page.select_option(f"{LENS} [name=language]", "")
    assert page.locator(f"{LENS} .translation").is_hidden()


def test_programs_ask_for_translations_too(address, folder):
    client_library = pytest.importorskip("gradio_client")
    client = client_library.Client(address, verbose=False)
    photo = client_library.handle_file(folder / "photo.png")
    translator = load_translator(folder / "translator")
    caption = client.predict(photo, api_name="/caption")
    translation = translator.translate(caption, "yy")
    assert client.predict(photo, language="yy", api_name="/caption") == translation.text
    record = client.predict(caption, "yy", api_name="/translate")
    assert record["translation"] == translation.text
    np.testing.assert_allclose(record["alignment"], translation.alignment, atol=1e-5)
    (row,) = client.predict([photo], language="yy", api_name="/caption_many")
    assert (row["translation"], row["language"]) == (translation.text, "yy")
    for arguments, name in (((photo,), "/caption"), (("A dog.",), "/translate")):
        with pytest.raises(client_library.exceptions.AppError, match="no language 'de'"):
            client.predict(*arguments, language="de", api_name=name)
