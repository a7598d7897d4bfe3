"""Many photos at once: files and zips of all kinds in, a row for each out."""

import asyncio
import csv
import io
import json
import logging
import threading
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import gradio as gr
import pytest
from gradio.data_classes import FileData, ListFiles
from gradio.route_utils import delete_files_created_by_app

from model.__main__ import main
from model.images import ImageError
from tests.support.tiny import draw_photo
from tests.support.waiting import wait_until
from ui.serving.captioners import Captioners
from ui.tabs import many as many_tab
from ui.tabs.many import caption_uploads, make_csv, make_jsonl, render_row
from ui.uploads import files as uploads
from ui.uploads.files import Upload, count_photos, get_base_name, list_photos, read_uploads

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


def png(colour=(200, 60, 30)):
    buffer = io.BytesIO()
    draw_photo(30, 20, colour).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(folder, members, name="some.zip", packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / name, "w", packing) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return Upload(str(folder / name), name)


def patched(upload, change):
    """The zip with bytes of it changed, as broken or hostile ones are."""
    data = bytearray(Path(upload.path).read_bytes())
    change(data)
    Path(upload.path).write_bytes(data)
    return upload


def told(uploads):
    """Name and size of each photo, or its error."""
    answers = []
    for photo in list_photos(uploads):
        try:
            answers.append((photo.name, photo.load().size))
        except ImageError as error:
            answers.append((photo.name, str(error).removeprefix(f"{photo.name}: ")))
    return answers


# --- what comes in --------------------------------------------------------------------------


def test_photos_of_a_zip_by_their_own_names_and_without_clutter(tmp_path):
    clutter = ["__MACOSX/a.png", ".DS_Store", ".hidden/b.png", "empty/", "win\\"]
    members = {"./trip/a.png": png(), "win\\b.png": png()} | {name: b"x" for name in clutter}
    Path(tmp_path / "c.png").write_bytes(png())
    given = [zipped(tmp_path, members), Upload(str(tmp_path / "c.png"), "mine.png")]
    assert told(given) == [("a.png", (30, 20)), ("b.png", (30, 20)), ("mine.png", (30, 20))]
    assert count_photos(given) == 3


@pytest.mark.parametrize(
    "member, content, message",
    [
        ("/etc/a.png", png(), "its place is outside of the zip"),
        ("C:\\a.png", png(), "its place is outside of the zip"),
        ("in/../../a.png", png(), "its place is outside of the zip"),
        ("..\\a.png", png(), "its place is outside of the zip"),
        ("in/more.ZIP", b"PK", "a zip inside a zip"),
        ("a.png", b"", "an empty file"),
        ("a.png", b"not a photo", "not an image that can be opened"),
        ("a.png", bytes(2001), "larger than 0 MB"),
    ],
)
def test_a_member_that_is_refused_does_not_stop_the_rest(
    tmp_path, monkeypatch, member, content, message
):
    monkeypatch.setattr(uploads, "MAX_PHOTO_BYTES", 2000)
    (first, problem), (second, size) = told([zipped(tmp_path, {member: content, "b.png": png()})])
    assert first == get_base_name(member) and message in problem and "\n" not in problem
    assert (second, size) == ("b.png", (30, 20))


def test_an_unusual_packing_is_refused(tmp_path):
    # zipfile unpacks these without a bound: 4 KB can become 80 MB
    given = zipped(tmp_path, {"a.png": png()}, packing=zipfile.ZIP_BZIP2)
    assert told([given]) == [("a.png", "packed in an unusual way; make an ordinary zip")]


def test_a_member_with_a_size_that_lies_or_broken_bytes(tmp_path):
    def smaller(data):
        at = data.index(b"PK\1\2")
        data[at + 24 : at + 28] = (100).to_bytes(4, "little")

    def flipped(data):
        data[60] ^= 255

    broken = "broken in the zip; make the zip again"
    bomb = patched(zipped(tmp_path, {"a.png": bytes(10**7)}), smaller)
    tracemalloc.start()
    assert told([bomb]) == [("a.png", broken)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10**6, "more was unpacked than the zip said there is"
    assert told([patched(zipped(tmp_path, {"a.png": png()}), flipped)]) == [("a.png", broken)]


def test_a_zip_that_is_refused_is_one_row(tmp_path, monkeypatch):
    def locked(data):
        data[data.index(b"PK\1\2") + 8] |= 1

    def cut(data):
        del data[-30:]

    two = {"a.png": png(), "b.png": png()}
    for given, message in (
        (patched(zipped(tmp_path, two, "locked.zip"), locked), "locked with a password"),
        (patched(zipped(tmp_path, two, "cut.zip"), cut), "broken, or no zip"),
        (patched(zipped(tmp_path, two, "none.zip"), bytearray.clear), "broken, or no zip"),
        (zipped(tmp_path, {".hidden": b"x"}, "empty.zip"), "no photos in it"),
    ):
        [(name, problem)] = told([given])
        assert name == given.name and message in problem
    monkeypatch.setattr(uploads, "MAX_ZIP_BYTES", 2 * len(png()) - 1)
    assert "when unpacked" in told([zipped(tmp_path, two)])[0][1]
    monkeypatch.setattr(uploads, "MAX_LISTING_BYTES", 100)
    assert "thousands of files" in told([zipped(tmp_path, two)])[0][1]


def test_too_many_photos_are_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PHOTOS", 2)
    given = zipped(tmp_path, {"a.png": png(), "b.png": png()})
    assert count_photos([given]) == 2
    with pytest.raises(ImageError, match="More than 2 photos"):
        count_photos([given, Upload("c.png", "c.png")])


def test_names_are_the_visitors_own_and_one_line_of_text(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    names = {"x_jpg": "C:\\me\\x\n\u202e.jpg", "y.jpg": None, "z.jpg": "../../"}
    files = []
    for kept, name in names.items():
        path = tmp_path / "uploads" / kept
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        files.append(FileData(path=str(path), orig_name=name))
    uploads = read_uploads(ListFiles(root=files))
    assert [upload.name for upload in uploads] == ["x??.jpg", "y.jpg", ".."]
    assert read_uploads(None) == []
    (tmp_path / "other.jpg").write_bytes(b"")
    for other in (tmp_path / "other.jpg", tmp_path / "uploads", tmp_path / "uploads/../other.jpg"):
        with pytest.raises(ImageError, match="not here any more"):
            read_uploads(ListFiles(root=[FileData(path=str(other))]))


# --- names that tell photos apart -----------------------------------------------------------


def names(uploads):
    given = [photo.name for photo in list_photos(uploads)]
    assert len(set(given)) == len(given) == count_photos(uploads)
    return given


def test_photos_of_the_same_name_in_a_zip_come_with_their_folders(tmp_path):
    members = ["monday/1.png", "tuesday/1.png", "tuesday\\2.png", "./wednesday/../3.png"]
    given = zipped(tmp_path, {member: png() for member in members})
    assert names([given]) == ["monday/1.png", "tuesday/1.png", "2.png", "3.png"]
    broken = zipped(tmp_path, {"monday/1.png": b"x", "tuesday/1.png": png()})
    (name, problem), _ = told([broken])
    assert name == "monday/1.png" and problem.startswith("not an image"), "errors call it so too"


def test_the_same_photos_in_two_zips_and_beside_them(tmp_path):
    members = {"a/1.png": png(), "b/1.png": png()}
    (tmp_path / "1.png").write_bytes(png())
    one, two = zipped(tmp_path, members, "one.zip"), zipped(tmp_path, members, "two.zip")
    plain = Upload(str(tmp_path / "1.png"), "1.png")
    expected = ["one.zip/a/1.png", "one.zip/b/1.png", "1.png", "two.zip/a/1.png", "two.zip/b/1.png"]
    assert names([one, plain, two]) == expected
    assert names([plain, plain]) == ["1.png", "1.png (2)"]
    again = names([zipped(tmp_path, {"1.png": png()}, "one.zip"), one])
    assert again == ["one.zip/1.png", "one.zip/1.png (2)"]


def test_a_number_is_not_another_photos_name(tmp_path):
    (tmp_path / "1.png").write_bytes(png())
    given = [Upload(str(tmp_path / "1.png"), name) for name in ("x", "x", "x (2)", "x")]
    assert names(given) == ["x", "x (3)", "x (2)", "x (4)"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_and_names_that_look_the_same(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for colour in ((250, 0, 0), (0, 0, 250)):
            archive.writestr("a.png", png(colour))
        for name in ("caf\u00e9.png", "cafe\u0301.png", "x\u200b.png", "x\u200e.png"):
            archive.writestr(name, png())
    given = Upload(str(tmp_path / "twice.zip"), "twice.zip")
    shown = ["a.png", "a.png (2)", "caf\u00e9.png", "cafe\u0301.png (2)", "x?.png", "x?.png (2)"]
    whole = [f"twice.zip/{name}" for name in shown]
    assert names([given]) == whole
    red, blue = [photo.load().getpixel((0, 0)) for photo in list_photos([given])][:2]
    assert red != blue, "each is read"


def test_what_is_no_photo_is_skipped_and_counted(tmp_path):
    others = ["notes.txt", "in/book.PDF", "film.mov", "list", "BM.csv"]
    system = ["__MACOSX/a.png", "in/Thumbs.db", "desktop.ini", "._a.png", "Icon\r", ".DS_Store"]
    members = {name: b"hello, not a photo" for name in others + system}
    members |= {"a.png": png(), "b": png(), "c.download": png(), "d.png": b"", "in/": b""}
    given = zipped(tmp_path, members)
    kept = told([given])
    assert [name for name, _ in kept] == ["a.png", "b", "c.download", "d.png"]
    assert kept[1] == ("b", (30, 20)) and "an empty file" in kept[3][1]
    assert uploads.count_skipped([given, given]) == 2 * len(others)
    (tmp_path / "x.txt").write_text("x")
    plain = Upload(str(tmp_path / "x.txt"), "x.txt")
    assert uploads.count_skipped([plain]) == 0, "what a visitor chose gets an answer"
    assert told([plain])[0][1].startswith("not an image")


def test_a_zip_without_a_photo_says_so(tmp_path):
    given = zipped(tmp_path, {"notes.txt": b"x", "a.pdf": b"x", "Thumbs.db": b"x"}, "my.zip")
    problem = "no photos in it, but 2 other files; make a zip of photos"
    assert told([given]) == [("my.zip", problem)]
    assert uploads.count_skipped([given]) == 0, "they are in that line"


# --- what comes out -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """More than a batch of photos, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(many_tab.BATCH_SIZE + 2):
        (folder / f"{i:02}.png").write_bytes(png((20 * i, 60, 30)))
    (folder / "03b.png").write_text("not a photo")
    return folder


def test_rows_are_those_of_the_command_line(captioner, checkpoint, folder, capsys):
    given = [Upload(str(path), path.name) for path in sorted(folder.iterdir())]
    batches = list(caption_uploads(captioner, given))
    assert [len(batch) for batch in batches] == [many_tab.BATCH_SIZE, 3]
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
    assert len(encoded) == many_tab.BATCH_SIZE < len(given)


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


def test_a_spreadsheet_sees_no_formula():
    done = [
        {"image": "=1+1.jpg", "error": "=1+1.jpg: broken"},
        {"image": "a.jpg", "caption": "-x", "log_probability": -1.5, "words": []},
        {"image": "＝1.jpg", "error": "é.jpg: broken"},
    ]
    table = make_csv(done)
    assert table.startswith("\ufeffimage,".encode()), "Excel reads accents where this begins it"
    rows = list(csv.reader(io.StringIO(table.decode("utf-8-sig"))))
    assert rows[1:3] == [
        ["'=1+1.jpg", "", "", "'=1+1.jpg: broken"],
        ["a.jpg", "'-x", "-1.5000", ""],
    ]
    assert rows[3] == ["'＝1.jpg", "", "", "é.jpg: broken"]
    assert json.loads(make_jsonl(done).splitlines()[0])["image"] == "=1+1.jpg"


@pytest.mark.parametrize("parts_cells_with", ",;\t")
@pytest.mark.parametrize(
    "name",
    ["x;=1+1.jpg", "x;=1+1;.jpg", "x\t@a.jpg", 'x;"=1"', 'x;"";"+1"', "x; \t-1", "x,=1", "x\n=1"],
)
def test_nor_where_other_signs_part_its_cells(name, parts_cells_with):
    done = [
        {"image": name, "error": f"{name}: broken"},
        {"image": "a.jpg", "caption": name, "log_probability": 0.0, "words": []},
    ]
    table = io.StringIO(make_csv(done).decode("utf-8-sig"), newline="")
    cells = [cell for row in csv.reader(table, delimiter=parts_cells_with) for cell in row]
    assert not [cell for cell in cells if cell.lstrip(' \t\n"').startswith(tuple("=+-@＝"))]


# --- the tab --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(captioners, tmp_path_factory):
    """A page with the tab alone: (blocks, address, folder of its files)."""
    temporary = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(temporary))
        with gr.Blocks() as demo:
            model = gr.Dropdown(captioners.names, value=captioners.names[0])
            many_tab.build(captioners, model)
            many_tab.add_endpoint(captioners)
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
    zipped(tmp_path, {f"in/{hostile}": png(), "last.png": png(), "notes.txt": b"hello"})
    (tmp_path / "first.png").write_bytes(png())
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
    monkeypatch.setattr(many_tab, "BATCH_SIZE", 1)
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
def test_without_a_photo_the_button_says_so(page):
    page.get_by_role("button", name="Write captions").click()
    assert "Add photos, or a zip" in page.wait_for_selector(".toast-body").inner_text()
    assert page.get_by_role("button", name="Write captions").is_visible()


async def messages_of(job):
    """What the page tells a client meanwhile."""
    return [update.log async for update in job if update.type == "status" and update.log]


def test_the_endpoint(app, checkpoint, folder, tmp_path):
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(app[1], verbose=False)
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/caption_many"]
    zipped(tmp_path, {"in/one.png": png(), "two.png": png((0, 0, 250)), "a.pdf": b"%PDF"})
    files = [
        gradio_client.handle_file(path) for path in (folder / "03b.png", tmp_path / "some.zip")
    ]
    job = client.submit(files=files, api_name="/caption_many")
    with ThreadPoolExecutor() as threads:  # in this one Playwright has an event loop
        messages = threads.submit(asyncio.run, messages_of(job)).result()
    assert ("Skipped 1 file in zips: no photos.", "info") in messages
    broken, one, two = job.result()
    assert set(broken) == {"image", "error"} and broken["error"].startswith("03b.png: not an image")
    assert [one["image"], two["image"]] == ["one.png", "two.png"]
    for record in (one, two):
        assert set(record) == {"image", "caption", "log_probability", "words", "checkpoint"}
        assert record["caption"] == " ".join(word["text"] for word in record["words"])
        assert record["checkpoint"] == checkpoint
    again = client.predict(files=files[1:], num_beams=1, model=checkpoint, api_name="/caption_many")
    assert [record["image"] for record in again] == ["one.png", "two.png"]
    for wrong, message in (
        ({"files": []}, "Add photos, or a zip"),
        ({"files": files, "model": "/etc"}, "/etc: choose a model"),
        ({"files": files, "num_beams": 11}, "maximum"),
    ):
        with pytest.raises(gradio_client.exceptions.AppError, match=message):
            client.predict(**wrong, api_name="/caption_many")
