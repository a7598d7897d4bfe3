"""Uploads: files and zips of all kinds in, photos with names that tell them apart out."""

import tracemalloc
import zipfile
from pathlib import Path

import pytest
from gradio.data_classes import FileData, ListFiles

from model.images import ImageError
from tests.support.uploads import encode_png, zip_files
from ui.uploads import files as uploads
from ui.uploads import limits, zips
from ui.uploads.files import Upload, count_photos, get_base_name, list_photos, read_uploads


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


def test_photos_of_a_zip_by_their_own_names_and_without_clutter(tmp_path):
    clutter = ["__MACOSX/a.png", ".DS_Store", ".hidden/b.png", "empty/", "win\\"]
    members = {"./trip/a.png": encode_png(), "win\\b.png": encode_png()} | {
        name: b"x" for name in clutter
    }
    Path(tmp_path / "c.png").write_bytes(encode_png())
    given = [zip_files(tmp_path, members), Upload(str(tmp_path / "c.png"), "mine.png")]
    assert told(given) == [("a.png", (30, 20)), ("b.png", (30, 20)), ("mine.png", (30, 20))]
    assert count_photos(given) == 3


@pytest.mark.parametrize(
    "member, content, message",
    [
        ("/etc/a.png", encode_png(), "its place is outside of the zip"),
        ("C:\\a.png", encode_png(), "its place is outside of the zip"),
        ("in/../../a.png", encode_png(), "its place is outside of the zip"),
        ("..\\a.png", encode_png(), "its place is outside of the zip"),
        ("in/more.ZIP", b"PK", "a zip inside a zip"),
        ("a.png", b"", "an empty file"),
        ("a.png", b"not a photo", "not an image that can be opened"),
        ("a.png", bytes(2001), "larger than 0 MB"),
    ],
)
def test_a_member_that_is_refused_does_not_stop_the_rest(
    tmp_path, monkeypatch, member, content, message
):
    monkeypatch.setattr(limits, "MAX_PHOTO_BYTES", 2000)
    (first, problem), (second, size) = told(
        [zip_files(tmp_path, {member: content, "b.png": encode_png()})]
    )
    assert first == get_base_name(member) and message in problem and "\n" not in problem
    assert (second, size) == ("b.png", (30, 20))


def test_an_unusual_packing_is_refused(tmp_path):
    # zipfile unpacks these without a bound: 4 KB can become 80 MB
    given = zip_files(tmp_path, {"a.png": encode_png()}, packing=zipfile.ZIP_BZIP2)
    assert told([given]) == [("a.png", "packed in an unusual way; make an ordinary zip")]


def test_a_member_with_a_size_that_lies_or_broken_bytes(tmp_path):
    def smaller(data):
        at = data.index(b"PK\1\2")
        data[at + 24 : at + 28] = (100).to_bytes(4, "little")

    def flipped(data):
        data[60] ^= 255

    broken = "broken in the zip; make the zip again"
    bomb = patched(zip_files(tmp_path, {"a.png": bytes(10**7)}), smaller)
    tracemalloc.start()
    assert told([bomb]) == [("a.png", broken)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10**6, "more was unpacked than the zip said there is"
    assert told([patched(zip_files(tmp_path, {"a.png": encode_png()}), flipped)]) == [
        ("a.png", broken)
    ]


def test_a_zip_that_is_refused_is_one_row(tmp_path, monkeypatch):
    def locked(data):
        data[data.index(b"PK\1\2") + 8] |= 1

    def cut(data):
        del data[-30:]

    two = {"a.png": encode_png(), "b.png": encode_png()}
    for given, message in (
        (patched(zip_files(tmp_path, two, "locked.zip"), locked), "locked with a password"),
        (patched(zip_files(tmp_path, two, "cut.zip"), cut), "broken, or no zip"),
        (patched(zip_files(tmp_path, two, "none.zip"), bytearray.clear), "broken, or no zip"),
        (zip_files(tmp_path, {".hidden": b"x"}, "empty.zip"), "no photos in it"),
    ):
        [(name, problem)] = told([given])
        assert name == given.name and message in problem
    monkeypatch.setattr(zips, "MAX_ZIP_BYTES", 2 * len(encode_png()) - 1)
    assert "when unpacked" in told([zip_files(tmp_path, two)])[0][1]
    monkeypatch.setattr(zips, "MAX_LISTING_BYTES", 100)
    assert "thousands of files" in told([zip_files(tmp_path, two)])[0][1]


def test_too_many_photos_are_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PHOTOS", 2)
    given = zip_files(tmp_path, {"a.png": encode_png(), "b.png": encode_png()})
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
    given = zip_files(tmp_path, {member: encode_png() for member in members})
    assert names([given]) == ["monday/1.png", "tuesday/1.png", "2.png", "3.png"]
    broken = zip_files(tmp_path, {"monday/1.png": b"x", "tuesday/1.png": encode_png()})
    (name, problem), _ = told([broken])
    assert name == "monday/1.png" and problem.startswith("not an image"), "errors call it so too"


def test_the_same_photos_in_two_zips_and_beside_them(tmp_path):
    members = {"a/1.png": encode_png(), "b/1.png": encode_png()}
    (tmp_path / "1.png").write_bytes(encode_png())
    one, two = zip_files(tmp_path, members, "one.zip"), zip_files(tmp_path, members, "two.zip")
    plain = Upload(str(tmp_path / "1.png"), "1.png")
    expected = ["one.zip/a/1.png", "one.zip/b/1.png", "1.png", "two.zip/a/1.png", "two.zip/b/1.png"]
    assert names([one, plain, two]) == expected
    assert names([plain, plain]) == ["1.png", "1.png (2)"]
    again = names([zip_files(tmp_path, {"1.png": encode_png()}, "one.zip"), one])
    assert again == ["one.zip/1.png", "one.zip/1.png (2)"]


def test_a_number_is_not_another_photos_name(tmp_path):
    (tmp_path / "1.png").write_bytes(encode_png())
    given = [Upload(str(tmp_path / "1.png"), name) for name in ("x", "x", "x (2)", "x")]
    assert names(given) == ["x", "x (3)", "x (2)", "x (4)"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_and_names_that_look_the_same(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for colour in ((250, 0, 0), (0, 0, 250)):
            archive.writestr("a.png", encode_png(colour))
        for name in ("caf\u00e9.png", "cafe\u0301.png", "x\u200b.png", "x\u200e.png"):
            archive.writestr(name, encode_png())
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
    members |= {
        "a.png": encode_png(),
        "b": encode_png(),
        "c.download": encode_png(),
        "d.png": b"",
        "in/": b"",
    }
    given = zip_files(tmp_path, members)
    kept = told([given])
    assert [name for name, _ in kept] == ["a.png", "b", "c.download", "d.png"]
    assert kept[1] == ("b", (30, 20)) and "an empty file" in kept[3][1]
    assert uploads.count_skipped([given, given]) == 2 * len(others)
    (tmp_path / "x.txt").write_text("x")
    plain = Upload(str(tmp_path / "x.txt"), "x.txt")
    assert uploads.count_skipped([plain]) == 0, "what a visitor chose gets an answer"
    assert told([plain])[0][1].startswith("not an image")


def test_a_zip_without_a_photo_says_so(tmp_path):
    given = zip_files(tmp_path, {"notes.txt": b"x", "a.pdf": b"x", "Thumbs.db": b"x"}, "my.zip")
    problem = "no photos in it, but 2 other files; make a zip of photos"
    assert told([given]) == [("my.zip", problem)]
    assert uploads.count_skipped([given]) == 0, "they are in that line"
