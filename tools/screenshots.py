"""`python -m tools.screenshots`: take the pictures of the page that the README shows.

The shipped captioner, photos of `assets/examples`, every tab and the grid of heads at two widths,
in light and dark, and the picture of links to the page, into `assets/screenshots/`.
"""

import tempfile
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tools.browser import CHROMIUM, FLAGS
from tools.serving import ROOT, serve_app
from ui.serving.link_preview import PREVIEW_PICTURE

FOLDER = ROOT / "assets" / "screenshots"
WIDTHS = {"desktop": (1280, 860), "phone": (390, 844)}
PREVIEW_SIZE = (1200, 630)
THEMES = {"": "", "-dark": "?__theme=dark"}


def caption(page: Page) -> None:
    """The page as it opens, with the photographer."""
    page.wait_for_selector("#caption-lens .lens[data-state=done]")


def heads(page: Page) -> None:
    """Every head's map, below the one that is large."""
    caption(page)
    page.locator("#caption-lens .look summary").click()
    page.locator("#caption-lens [name=heads]").click()
    page.wait_for_selector("#caption-lens .head")


def explain(page: Page) -> None:
    caption(page)
    page.get_by_role("tab", name="Explain my sentence").click()
    page.wait_for_timeout(1000)
    page.get_by_label("Your sentence").fill("A man looks through a camera on a lawn.")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector("#explain-lens .lens[data-state=done]")


def many(page: Page) -> None:
    page.get_by_role("tab", name="Many photos").click()
    photos = sorted((ROOT / "assets" / "examples").glob("*.jpg"))
    page.locator("input[type=file][multiple]").set_input_files(photos)
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Write captions").click()
    page.get_by_text(f"{len(photos)} of {len(photos)} done", exact=False).first.wait_for()


def lesson(page: Page) -> None:
    caption(page)
    page.get_by_role("tab", name="How cross-attention works").click()
    page.get_by_text("NumPy and torch compute", exact=False).first.wait_for()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, serve_app(Path(temporary)) as app:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            for (size, (width, height)), (theme, query) in product(WIDTHS.items(), THEMES.items()):
                for tab in (caption, heads, explain, many, lesson):
                    page = open_page(browser, f"{app.address}/{query}", width, height)
                    tab(page)
                    page.wait_for_timeout(1000)
                    path = FOLDER / f"{tab.__name__}-{size}{theme}.jpg"
                    page.screenshot(path=path, full_page=True, type="jpeg", quality=80)
                    print(path.relative_to(ROOT))
                    page.close()
            page = open_page(browser, app.address, *PREVIEW_SIZE)
            caption(page)
            page.screenshot(path=PREVIEW_PICTURE, type="jpeg", quality=85)
            browser.close()


def open_page(browser: Browser, address: str, width: int, height: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached")
    return page


if __name__ == "__main__":
    main()
