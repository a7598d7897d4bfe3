"""Many photos at once: a row for each."""

import csv
import logging
import threading
from contextlib import closing
from pathlib import Path

import gradio as gr
import pytest
from gradio.route_utils import delete_files_created_by_app

from model.__main__ import main
from model.errors import OptionError
from tests.support.tiny import draw_photo
from tests.support.translators import tiny_translator
from tests.support.uploads import encode_png, zip_files
from tests.support.waiting import wait_until
from ui.serving import translation as page_translation
from ui.serving.captioners import Captioners
from ui.tabs import many as many_tab
from ui.tabs import many_captions
from ui.tabs.choice import create_captioner_choice
from ui.tabs.many_captions import caption_uploads, render_row
from ui.tabs.many_files import make_csv, make_jsonl
from ui.uploads.files import Upload

CSS = (Path(many_tab.__file__).parent / "many.css").read_text()


@pytest.fixture(scope="module")
def checkpoint(checkpoint):
    return str(checkpoint)  # as it is typed


@pytest.fixture(scope="module")
def captioners(checkpoint):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLENS_CHECKPOINT", checkpoint)
        return Captioners()


@pytest.fixture(scope="module")
def captioner(captioners):
    return captioners.get()


# --- what comes out -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """More than a batch of photos, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(many_captions.BATCH_SIZE + 2):
        (folder / f"{i:02}.png").write_bytes(encode_png((20 * i, 60, 30)))
    (folder / "03b.png").write_text("not a photo")
    return folder


def test_captions_in_another_language(captioner, folder, monkeypatch):
    translator = tiny_translator(max_length=128)
    monkeypatch.setattr(page_translation, "get_translator", lambda: translator)
    given = [Upload(str(path), path.name) for path in sorted(folder.iterdir())[2:5]]
    (batch,) = caption_uploads(captioner, given, 1, "xx")
    records = [record for record, _ in batch]
    assert [record.get("language") for record in records] == ["xx", "xx", None]
    for record in records[:2]:
        assert record["translation"] == translator.translate(record["caption"], "xx").text
    record = records[0] | {"translation": "<b>Hund"}
    assert '<p lang="xx" dir="auto">&lt;b&gt;Hund</p>' in render_row(record, None)
    failed = records[0] | {"translation": "", "translation_error": "too long"}
    assert "too long</p>" in render_row(failed, None)
    with pytest.raises(OptionError, match="no language 'de'"):
        next(caption_uploads(captioner, given, 1, "de"))


def test_rows_are_those_of_the_command_line(captioner, checkpoint, folder, capsys):
    given = [Upload(str(path), path.name) for path in sorted(folder.iterdir())]
    batches = list(caption_uploads(captioner, given))
    assert [len(batch) for batch in batches] == [many_captions.BATCH_SIZE, 3]
    done = [record for batch in batches for record, _ in batch]
    for kind, ours in (("jsonl", make_jsonl(done)), ("csv", make_csv(done))):
        main(["caption", str(folder), "--checkpoint", checkpoint, "--format", kind])
        printed = capsys.readouterr().out.removeprefix("\ufeff")
        assert ours.decode("utf-8-sig") == printed.replace(f"{folder}/", "")
    assert [set(record) for record in done].count({"image", "error"}) == 1
    thumbnails = [thumbnail for batch in batches for _, thumbnail in batch]
    assert [thumbnail is None for thumbnail in thumbnails] == ["error" in r for r in done]


def test_closing_stops_computing(captioner, folder, monkeypatch):
    encoded = []
    encode_photos = captioner.network.encode_photos

    def count(images):
        encoded.append(1)
        return encode_photos(images)

    monkeypatch.setattr(captioner.network, "encode_photos", count)
    given = [Upload(str(path), path.name) for path in sorted(folder.glob("0?.png"))]
    with closing(caption_uploads(captioner, given, num_beams=1)) as batches:
        next(batches)
    assert len(encoded) == many_captions.BATCH_SIZE < len(given)


def test_a_thin_photo_has_a_thumbnail(captioner, tmp_path):
    draw_photo(3000, 1).save(tmp_path / "thin.png")
    [[(record, thumbnail)]] = caption_uploads(
        captioner, [Upload(str(tmp_path / "thin.png"), "thin.png")]
    )
    assert record["caption"] and thumbnail.size == (96, 1)


def test_words_and_names_are_text():
    name, words = "<img src=x onerror=x>&.jpg", "A <b>dog</b>"
    record = {"image": name, "caption": words, "log_probability": -2.0, "words": [{}, {}]}
    shown = render_row(record, draw_photo())
    assert "&lt;img src=x onerror=x&gt;&amp;.jpg" in shown and "A &lt;b&gt;dog&lt;/b&gt;" in shown
    assert shown.count("<img") == 1 and "<b>" not in shown and "37% a word" in shown
    failed = render_row({"image": name, "error": f"{name}: no <i>image</i>"}, None)
    assert "Not read:</b> no &lt;i&gt;image&lt;/i&gt;" in failed and "<img" not in failed
    assert "nothing to say" in render_row({**record, "caption": "", "words": []}, draw_photo())


# --- the tab --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(captioners, tmp_path_factory):
    """A page with the tab alone: (blocks, address, folder of its files)."""
    temporary = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(temporary))
        with gr.Blocks() as demo:
            many_tab.build(captioners, create_captioner_choice(captioners))
        _, address, _ = demo.launch(
            _frontend=False,  # else gradio waits 3 s, too little on a busy machine
            prevent_thread_lock=True,
            quiet=True,
            css=CSS,
        )
        yield demo, address, temporary
        demo.close()


@pytest.fixture
def page(browser, app):
    _, address, _ = app
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(60_000)
    dialogs, requested = [], []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    page.wait_for_selector(".many-empty")
    yield page
    assert not dialogs, "a name ran as a script"
    assert all(url.startswith((address, "data:", "blob:")) for url in requested)
    page.close()


def give(page, *paths):
    page.set_input_files("input[type=file]", paths)
    page.locator(".file-preview tr").nth(len(paths) - 1).wait_for()
    page.get_by_role("button", name="Write captions").click()


@pytest.mark.browser
def test_photos_to_a_table_and_its_files(app, page, folder, tmp_path):
    hostile = "<img src=x onerror=alert(1)>${alert(2)}.png"
    zip_files(
        tmp_path, {f"in/{hostile}": encode_png(), "last.png": encode_png(), "notes.txt": b"hello"}
    )
    (tmp_path / "first.png").write_bytes(encode_png())
    give(page, tmp_path / "first.png", folder / "03b.png", tmp_path / "some.zip")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(Path(download.value.path()).open(encoding="utf-8-sig")))
    names = ["first.png", "03b.png", hostile, "last.png"]
    assert download.value.suggested_filename == "captions.csv"
    assert [r["image"] for r in rows] == names
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSONL").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 4

    status = "4 of 4 done, 1 could not be read. Skipped 1 file in zips: no photos."
    assert page.inner_text(".many-status") == status
    assert [t.inner_text() for t in page.query_selector_all(".many-table tbody th")] == names
    shown = page.locator(".many-table").get_by_role("row")
    cells = shown.nth(1).get_by_role("cell").all_inner_texts()
    assert cells[1] == rows[0]["caption"] and cells[2].endswith("% a word")
    assert "Not read: not an image" in shown.nth(2).inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    loaded = "Array.from(document.images).every(i => i.complete && i.naturalWidth)"
    assert page.locator(".many-table img").count() == 3 and page.evaluate(loaded)

    demo, _, temporary = app
    assert list(temporary.rglob("captions.*"))
    delete_files_created_by_app(demo, None)
    assert not [path for path in temporary.rglob("*") if path.is_file()]


@pytest.mark.browser
def test_stop(page, captioner, folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "captionlens")
    monkeypatch.setattr(many_captions, "BATCH_SIZE", 1)
    stopped = threading.Event()
    encoded = []
    encode_photos = captioner.network.encode_photos

    def encode_until_stopped(images):
        encoded.append(1)
        if len(encoded) == 3:
            assert stopped.wait(60)
        return encode_photos(images)

    monkeypatch.setattr(captioner.network, "encode_photos", encode_until_stopped)
    give(page, *sorted(folder.glob("0?.png")))
    page.wait_for_selector(".many-status:has-text('2 of 10 done')")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Download CSV").wait_for()
    assert page.inner_text(".many-status") == "Stopped: 2 of 10 done."
    stopped.set()
    wait_until(lambda: caplog.messages and caplog.messages[-1].endswith("; cancelled"))
    assert len(encoded) == 3


@pytest.mark.browser
def test_written_again_while_the_stopped_run_is_within_a_step(page, captioner, folder, monkeypatch):
    may_go_on, encoded = threading.Event(), []
    encode_photos = captioner.network.encode_photos

    def encode_slowly(images):
        encoded.append(1)
        if len(encoded) == 1:
            assert may_go_on.wait(60)
        return encode_photos(images)

    monkeypatch.setattr(captioner.network, "encode_photos", encode_slowly)
    give(page, *sorted(folder.glob("0?.png")))
    page.wait_for_selector(".many-status:has-text('0 of 10 done')")
    wait_until(lambda: encoded)
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector(".many-status:has-text('Stopped.')")
    page.get_by_role("button", name="Write captions").click()
    page.wait_for_timeout(300)
    may_go_on.set()
    page.wait_for_selector(".many-status:has-text('10 of 10 done.')")
    assert page.locator(".many-table tbody tr").count() == 10
    assert page.get_by_role("button", name="Write captions").is_visible()


@pytest.mark.browser
def test_two_of_one_name_are_told_apart_and_go_with_their_files(page, tmp_path):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cat.png").write_bytes(encode_png((len(folder) * 20, 60, 30)))
    give(page, tmp_path / "here" / "cat.png", tmp_path / "there" / "cat.png")
    page.wait_for_selector(".many-status:has-text('2 of 2 done.')")
    names = [t.inner_text() for t in page.query_selector_all(".many-table tbody th")]
    assert names == ["cat.png", "cat.png (2)"]
    page.get_by_label("Clear").first.click()
    page.wait_for_selector(".many-empty")
    assert not page.get_by_role("button", name="Download CSV").is_visible()


@pytest.mark.browser
def test_without_a_photo_the_button_says_so(page):
    page.get_by_role("button", name="Write captions").click()
    assert "Add photos, or a zip" in page.wait_for_selector(".toast-body").inner_text()
    assert page.get_by_role("button", name="Write captions").is_visible()
