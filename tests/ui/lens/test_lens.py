"""The lens in a browser: what pointing, choosing, playing and saving do with a finished caption."""

import json
import time

import pytest
from PIL import Image

from tests.support.paths import ROOT
from tools.serving import serve_app

pytestmark = pytest.mark.browser

LENS = "#caption-lens .lens"
WORDS = "#caption-lens .word"
DONE = f"{LENS}[data-state=done]:not(.busy)"
EXAMPLES = ROOT / "assets" / "examples"
OPENING = json.loads((ROOT / "assets/examples/opening.json").read_text(encoding="utf-8"))
SENTENCE = [word["text"] for word in OPENING["words"]]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The app with the shipped captioner."""
    with serve_app(tmp_path_factory.mktemp("lens")) as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


@pytest.fixture
def page(browser, address):
    """The page as it opens, for somebody who wants no motion."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector(DONE)
    yield page
    assert not errors
    page.close()


def read_words(page):
    return [word.inner_text().strip() for word in page.query_selector_all(WORDS)]


def read_heading(page):
    return page.inner_text("#caption-lens h3")


def test_it_opens_on_a_finished_result_with_a_large_map(page):
    assert read_words(page) == SENTENCE
    assert read_heading(page).startswith(f"“{SENTENCE[OPENING['first_word']]}”")
    box = page.locator(f"{LENS} .stage .photo").bounding_box()
    assert box["height"] >= 0.45 * 800 and box["y"] + box["height"] <= 800
    assert page.locator(f"{LENS} .look").get_attribute("open") is None
    assert not page.locator(f"{LENS} [name=play]").is_visible()
    page.evaluate("document.addEventListener('lens:done', () => { window.isCaptioned = true; })")
    page.get_by_role("button", name="Caption", exact=True).click()  # its photo is there too
    page.wait_for_function("window.isCaptioned")
    page.wait_for_selector(DONE)
    assert read_words(page) == SENTENCE, "run `python -m tools.make_opening`"


def test_without_the_photo_that_it_opened_with_the_button_asks_for_one(page):
    page.get_by_label("Remove Image").first.click()
    page.wait_for_selector(f"{LENS}[data-state=empty]")
    page.get_by_role("button", name="Caption", exact=True).click()
    assert "Choose a photo first" in page.wait_for_selector(".toast-body").inner_text()
    assert page.get_attribute(LENS, "data-state") == "empty"


def test_a_photo_that_comes_after_one_was_taken_away_stays(page):
    """However late the answer comes on the one before."""
    page.route("**/gradio_api/cancel", lambda route: (time.sleep(1), route.continue_()))
    remove, box = page.get_by_label("Remove Image").first, page.locator("input[type=file]").first
    remove.click()
    page.wait_for_selector(f"{LENS}[data-state=empty]")
    box.set_input_files(EXAMPLES / "cat.jpg")
    page.wait_for_selector(f"{LENS}[data-state=writing]")
    remove.click()
    page.wait_for_selector("#caption-photo img", state="detached")
    box.set_input_files(EXAMPLES / "scissors.jpg")
    page.wait_for_selector(f"{LENS} .announcement:has-text('scissors')", state="attached")
    page.wait_for_timeout(1500)  # what comes late has come
    assert page.get_attribute("#caption-photo img", "src").endswith("scissors.jpg")
    assert page.locator(f"{LENS} .stage img").evaluate("one => one.naturalWidth") > 0
    assert "scissors" in read_words(page)


def test_maps_that_take_long_can_be_cancelled(page):
    page.get_by_text("Map settings").first.click()
    page.select_option(f"{LENS} [name=method]", "occlusion")
    page.wait_for_selector(f"{LENS} .working:has-text('Hiding one part')")
    page.wait_for_selector(f"{LENS} .working:has-text('1 s')")
    page.click(f"{LENS} [name=cancel]")
    page.wait_for_selector(DONE)
    assert page.input_value(f"{LENS} [name=method]") == OPENING["settings"]["method"]
    assert read_words(page) == SENTENCE and not page.query_selector(".toast-body")
    page.select_option(f"{LENS} [name=method]", "attention")  # and the next ones come
    page.wait_for_selector(f"{LENS}.busy")
    page.wait_for_selector(DONE)
    assert page.input_value(f"{LENS} [name=method]") == "attention"


def test_the_tick_of_one_scale_can_be_seen(page):
    """In light mode too, where gradio's own style took it away."""
    page.get_by_text("Map settings").first.click()
    tick = page.locator(f"{LENS} [name=shared]")
    before = tick.screenshot()
    tick.check()
    page.mouse.move(2, 2)
    assert tick.evaluate("box => getComputedStyle(box).appearance") == "auto"
    assert tick.screenshot() != before


def test_the_icons_over_a_photo_do_not_discard_it(page):
    assert page.locator("#caption-photo img").is_visible()
    assert not page.locator("#caption-photo [aria-label='Upload file']").is_visible()


def test_on_a_phone_a_runner_up_leaves_the_caption_in_sight(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    page.goto(address)
    page.wait_for_selector(DONE)
    page.locator(WORDS).nth(2).click()
    runner_up = page.locator("#caption-lens .alternatives button").last
    runner_up.scroll_into_view_if_needed()
    page.evaluate("scrollTo({ top: 600 })")
    runner_up.click()
    page.wait_for_selector(f"{WORDS}.own")
    page.wait_for_selector(DONE)
    box = page.locator(f"{LENS} .words").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 844
    page.close()


def test_a_sentence_from_right_to_left_is_shown_so(page):
    page.get_by_role("tab", name="Explain my sentence").click()
    page.wait_for_selector("[role=tabpanel]:visible .image-frame img")
    page.get_by_label("Your sentence").fill("כלב רץ על הדשא")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector("#explain-lens .lens[data-state=done]")
    words = page.locator("#explain-lens .word")
    boxes = [word.bounding_box() for word in words.all()]
    assert len(boxes) == 4
    assert all(left["x"] < right["x"] for right, left in zip(boxes, boxes[1:], strict=False))
    words.nth(1).click()
    heading = page.inner_html("#explain-lens h3")
    assert "<bdi>“רץ”</bdi>" in heading, "the percentage stays behind the word"


def test_a_figure_that_is_drawn_says_so(page):
    with page.expect_download():
        page.click(f"{LENS} [name=png]")
        page.wait_for_selector(f"{LENS} [name=png]:disabled:has-text('Saving')")
    page.wait_for_selector(f"{LENS} [name=png]:enabled:has-text('Save figure')")


def test_a_browser_without_webp_says_so(page):
    page.evaluate("""() => {
      const write = HTMLCanvasElement.prototype.toBlob;
      HTMLCanvasElement.prototype.toBlob = function (done) { write.call(this, done, "image/png"); };
    }""")
    page.click(f"{LENS} [name=animation]")
    page.wait_for_selector(f"{LENS} .unsaved:has-text('writes no animations')")


def test_it_plays_once_where_motion_is_wanted(browser, address):
    page = browser.new_page(reduced_motion="no-preference")
    page.goto(address)
    page.wait_for_selector(f"{LENS} [name=play][aria-pressed=true]")
    page.wait_for_selector(f"{LENS} [name=play][aria-pressed=false]")
    assert page.inner_text(f"{LENS} [name=play]") == "Play"
    page.close()


def test_pointing_shows_and_a_click_keeps(page):
    words = page.locator(WORDS)
    words.nth(1).click()
    words.nth(4).hover()
    assert read_heading(page).startswith(f"“{SENTENCE[4]}”")
    assert words.nth(1).get_attribute("aria-pressed") == "true"
    page.locator("#caption-lens .alternatives").hover()
    assert read_heading(page).startswith(f"“{SENTENCE[1]}”")
    page.locator(f"{LENS} .frame").nth(5).click()
    assert words.nth(5).get_attribute("aria-pressed") == "true"
    assert read_heading(page).startswith(f"“{SENTENCE[5]}”")


def test_a_place_in_the_photo_tints_the_words_that_looked_there(page):
    page.locator(f"{LENS} .stage .photo").hover()
    values = page.eval_on_selector_all(
        WORDS, "words => words.map(word => Number(word.style.getPropertyValue('--looked')))"
    )
    assert max(values) > 0 and len(set(values)) > 1
    page.mouse.move(2, 2)
    assert page.eval_on_selector_all(
        WORDS, "words => words.every(word => !word.style.getPropertyValue('--looked'))"
    )


def test_a_word_of_the_visitors_is_marked_and_can_be_undone(page):
    page.locator(WORDS).nth(2).click()
    page.locator("#caption-lens .alternatives button").first.click()
    page.wait_for_selector(f"{WORDS}.own")
    page.wait_for_selector(DONE)
    assert page.locator(f"{WORDS}.own").count() == 1
    assert page.locator(WORDS).nth(2).get_attribute("aria-label").endswith(", your word")
    assert read_words(page) != SENTENCE
    page.click(f"{LENS} [name=undo]")
    assert read_words(page) == SENTENCE
    assert not page.locator(f"{WORDS}.own").count()
    assert not page.locator(f"{LENS} [name=undo]").is_visible()


def test_method_stays_for_the_next_photo(page):
    page.get_by_text("Map settings").first.click()
    page.select_option("#caption-lens [name=method]", "attention")
    page.wait_for_selector(DONE)
    page.get_by_role("button", name="cat").first.click()
    page.wait_for_function(
        "text => document.querySelector('#caption-lens .announcement').textContent.includes(text)",
        arg="cat",
    )
    page.wait_for_selector(DONE)
    page.wait_for_function(
        "document.querySelector('#caption-lens [name=method]').value === 'attention'"
    )


def open_heads(page):
    page.get_by_text("Map settings").first.click()
    page.click(f"{LENS} [name=heads]")
    page.wait_for_selector(f"{LENS} .head")


def read_canvas(page, selector):
    return page.eval_on_selector(selector, "canvas => canvas.toDataURL()")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_head_has_a_map_and_a_click_shows_it_large(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.locator(WORDS).nth(1).click()
    open_heads(page)
    settings = OPENING["settings"]
    assert page.locator(f"{LENS} .head").count() == settings["layers"] * settings["heads"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    read_heads = "all => all.map((canvas) => canvas.toDataURL())"
    small = page.eval_on_selector_all(f"{LENS} .head canvas", read_heads)
    assert len(set(small)) > settings["heads"], "heads differ"
    requests, large = [], read_canvas(page, f"{LENS} .stage canvas")
    page.on("request", lambda request: requests.append(request.url))
    page.locator(WORDS).nth(4).click()
    other = page.eval_on_selector_all(f"{LENS} .head canvas", read_heads)
    assert other != small, "those of the other word"
    page.locator(WORDS).nth(1).click()
    assert page.eval_on_selector_all(f"{LENS} .head canvas", read_heads) == small and not requests
    head = page.get_by_role("button", name="Layer 2, head 1")
    head.click()
    page.wait_for_function(
        "before => document.querySelector('#caption-lens .stage canvas').toDataURL() !== before",
        arg=large,
    )
    page.wait_for_selector(DONE)
    assert page.input_value(f"{LENS} [name=layer]") == "2"
    assert page.input_value(f"{LENS} [name=head]") == "1"
    assert head.get_attribute("aria-pressed") == "true"
    assert page.locator(f"{LENS} .head[aria-pressed=true]").count() == 1
    head.click()  # once more: all of them together
    page.wait_for_function(
        "before => document.querySelector('#caption-lens .stage canvas').toDataURL() === before",
        arg=large,
    )
    assert not page.input_value(f"{LENS} [name=layer]")


def test_a_word_shows_the_words_that_it_looked_back_at(page):
    index = 6
    page.locator(WORDS).nth(index).click()
    shares = OPENING["words"][index]["earlier"]
    strengths = page.eval_on_selector_all(
        WORDS, "words => words.map(word => Number(word.style.getPropertyValue('--earlier')))"
    )
    expected = [share / max(shares) for share in shares]
    assert strengths == pytest.approx(expected + [0] * (len(SENTENCE) - index))
    strongest = max(range(index), key=lambda i: shares[i])
    told = page.inner_text(f"{LENS} .earlier").strip()
    assert told.startswith(f"It also looked back at “{SENTENCE[strongest]}” {max(shares):.0%}")
    page.locator(WORDS).first.click()
    assert not page.locator(f"{LENS} .earlier").is_visible()


def save(page, name, path):
    with page.expect_download() as download:
        page.click(f"{LENS} [name={name}]")
    download.value.save_as(path)
    return Image.open(path)


def test_a_picture_and_an_animation_are_made_in_the_browser(page, tmp_path):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    picture = save(page, "picture", tmp_path / "picture.png")
    assert max(picture.size) >= 720
    animation = save(page, "animation", tmp_path / "animation.webp")
    assert animation.n_frames == len(SENTENCE)
    frames = []
    for index in range(animation.n_frames):
        animation.seek(index)
        frames.append(animation.convert("RGB").tobytes())
    assert len(set(frames)) == len(frames), "another word lights up in each"
    assert animation.info["duration"] == 700 and animation.info["loop"] == 0
    assert all(url.startswith(("blob:", "data:")) for url in requests), "nobody is asked"


def test_a_saved_figure_is_drawn_as_the_page_draws(page, tmp_path):
    page.get_by_text("Map settings").first.click()
    glow = save(page, "png", tmp_path / "glow.png")
    page.select_option("#caption-lens [name=colours]", "darken")
    darken = save(page, "png", tmp_path / "darken.png")
    assert json.loads(darken.text["captionlens"])["colours"] == "darken"
    assert glow.size == darken.size and glow.tobytes() != darken.tobytes()


def test_every_target_is_large_enough_to_hit(page):
    small = page.evaluate("""() => {
      const targets = document.querySelectorAll("button, select, summary, footer a, .lens input");
      return [...targets].filter((target) => {
        const { width, height } = target.getBoundingClientRect();
        const isShown = target.checkVisibility({ visibilityProperty: true }) && height > 1;
        return isShown && (width < 24 || height < 24);
      }).map((target) => target.outerHTML.slice(0, 120));
    }""")
    assert not small
