"""Every tab for those who read or touch it otherwise, empty and filled: axe finds nothing serious,
and what can be pressed is large enough to hit."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.tiny import draw_photo, tiny_captioner_with_memory
from tests.support.uploads import zip_files
from tools.serving import serve_app
from ui.tabs.memory import OWN

pytestmark = pytest.mark.browser

PANEL = "[role=tabpanel]:visible"
TARGETS = "button, select, summary, footer a, input, textarea, [role=button]"
# a box or a radio button is hit by its label too
FIND_SMALL_TARGETS = """(targets) => [...document.querySelectorAll(targets)].filter((target) => {
  const isTick = ["checkbox", "radio"].includes(target.type);
  const { width, height } = (isTick ? target.closest("label") : target).getBoundingClientRect();
  const isShown = target.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  return isShown && height > 1 && (width < 24 || height < 24);
}).map((target) => target.outerHTML.slice(0, 150))"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    tiny_captioner_with_memory((42, 84), seed=37).save_pretrained(folder / "checkpoint")
    with serve_app(folder, folder / "checkpoint") as app:
        yield app.address
        assert "Traceback" not in app.log.read_text()


@pytest.fixture(params=["light", "dark"])
def page(request, browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    page.goto(f"{address}/?__theme={request.param}")
    yield page
    page.close()


def check_access(page, what):
    """At both widths."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            "document.getAnimations().every(animation => animation.playState !== 'running')"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (what, width)
        small = page.evaluate(FIND_SMALL_TARGETS, TARGETS)
        assert not small, (what, width, small)
        found = Axe().run(page).response["violations"]
        serious = {
            f"{violation['id']}: {node['html'][:150]}"
            for violation in found
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        }
        assert not serious, (what, width, serious)
    page.set_viewport_size({"width": 1280, "height": 900})


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_selector(PANEL)


def test_empty_tabs(page):
    page.wait_for_selector("#caption-lens .lens[data-state=empty]")
    page.get_by_label("Memory", exact=True).click()
    page.get_by_role("option", name=OWN).click()
    page.get_by_text("A zip of captioned photos", exact=True).first.wait_for()
    for tab in page.get_by_role("tab").all_inner_texts():
        open_tab(page, tab)
        for options in page.locator(f"{PANEL} button.label-wrap:not(.open)").all():
            options.click()
        check_access(page, tab)


def test_filled_tabs(page, tmp_path):
    photo = tmp_path / "photo.png"
    draw_photo(300, 200).save(photo)
    members = {"a.png": photo.read_bytes(), "a.txt": "A red kite."}
    page.get_by_label("Memory", exact=True).click()
    page.get_by_role("option", name=OWN).click()
    path = zip_files(tmp_path, members).path
    page.locator("input[type=file][accept='.zip']").set_input_files(path)
    page.get_by_text("1 photos remembered. Write a caption.").wait_for()

    page.locator("#caption-photo input[type=file]").set_input_files(photo)
    fill_lens(page, "#caption-lens")
    check_access(page, "Caption")

    open_tab(page, "Explain my sentence")
    page.wait_for_selector(f"{PANEL} .image-frame img")
    page.get_by_label("Your sentence").fill("A dog runs.")
    page.get_by_role("button", name="Explain", exact=True).click()
    fill_lens(page, "#explain-lens")
    check_access(page, "Explain my sentence")

    open_tab(page, "Many photos")
    (tmp_path / "broken.png").write_text("no photo")
    page.locator(f"{PANEL} input[type=file]").set_input_files([photo, tmp_path / "broken.png"])
    page.locator(f"{PANEL} .file-preview tr").nth(1).wait_for()
    page.get_by_role("button", name="Write captions").click()
    page.get_by_text("2 of 2 done, 1 could not be read.").wait_for()
    check_access(page, "Many photos")

    open_tab(page, "Compare models")
    page.wait_for_selector(f"{PANEL} .image-frame img")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.wait_for_selector(".compare section")
    check_access(page, "Compare models")

    open_tab(page, "How cross-attention works")
    page.get_by_text("NumPy and torch compute").wait_for()
    check_access(page, "How cross-attention works")


def fill_lens(page, lens):
    """Open all that a lens has to show of a caption."""
    page.wait_for_selector(f"{lens} .lens[data-state=done]:not(.busy)")
    page.locator(f"{lens} summary").click()
    page.click(f"{lens} [name=heads]")
    page.wait_for_selector(f"{lens} .head")
