"""Zips of captioned photos: weighed before they are read, and never a way to another file."""

import io
import json
import zipfile

import pytest

from model.errors import DataError, ImageError
from model.images import load_image
from tests.support.uploads import encode_png, zip_files
from ui.uploads import captioned_zips
from ui.uploads.captioned_zips import open_captioned_zip
from ui.uploads.files import Upload


@pytest.fixture(autouse=True)
def upload_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("uploads")
    monkeypatch.setattr(captioned_zips, "get_upload_folder", lambda: folder)
    yield folder
    assert not list(folder.iterdir()), "nothing is left behind"


def read(upload):
    """The captions of each photo, with its size or its error."""
    told = {}
    with open_captioned_zip(upload) as photos:
        for photo in photos:
            try:
                told[photo.name] = (photo.captions, load_image(photo.path).size)
            except ImageError as error:
                told[photo.name] = (photo.captions, str(error))
    return told


def test_texts_beside_photos(tmp_path):
    members = {"trip\\a.png": encode_png(), "trip\\a.txt": "A hill.\nA green hill.\n"}
    members |= {"b.png": b"no photo", "b.txt": "A tree.", "__MACOSX/a.txt": "x", "c.txt": "alone"}
    assert read(zip_files(tmp_path, members)) == {
        "trip/a.png": (["A hill.", "A green hill."], (30, 20)),
        "b.png": (["A tree."], describe_failure(b"no photo", "b.png")),
        "c": (["alone"], "c: not in the zip, though it has captions"),
    }


def describe_failure(content, name):
    """What is said of a photo of this content."""
    file = io.BytesIO(content)
    file.name = name
    with pytest.raises(ImageError) as caught:
        load_image(file)
    return str(caught.value)


@pytest.mark.parametrize(
    "name, content",
    [
        ("captions.csv", "image,caption\npictures/a.png,A hill.\n"),
        ("metadata.jsonl", '{"file_name": "pictures/a.png", "text": "A hill."}\n'),
        ("all.json", '[{"image": "pictures/a.png", "caption": "A hill."}]'),
    ],
)
def test_every_format_that_training_reads(tmp_path, name, content):
    upload = zip_files(tmp_path, {"pictures/a.png": encode_png(), name: content})
    ((captions, size),) = read(upload).values()
    assert (captions, size) == (["A hill."], (30, 20))


@pytest.mark.parametrize("way", ["../secret.png", "{folder}/secret.png", "x/../../secret.png"])
def test_no_caption_leads_to_another_file(tmp_path, monkeypatch, way):
    """Neither beside the place where captions are read nor anywhere else."""
    monkeypatch.setattr(captioned_zips, "get_upload_folder", lambda: tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    for folder in (tmp_path, tmp_path / "temporary"):
        (folder / "secret.png").write_bytes(encode_png())
    name = way.format(folder=tmp_path)
    table = json.dumps([{"image": "a.png", "caption": "A."}, {"image": name, "caption": "B."}])
    told = read(zip_files(tmp_path, {"a.png": encode_png(), "all.json": table}))
    assert told.pop("a.png") == (["A."], (30, 20))
    ((captions, problem),) = told.values()
    assert captions == ["B."] and "not in the zip" in problem
    assert [path.name for path in (tmp_path / "temporary").iterdir()] == ["secret.png"]


@pytest.mark.parametrize("place", ["../a.png", "/etc/a.png", "..\\..\\a.png"])
def test_a_member_outside_of_the_zip_is_never_written(tmp_path, monkeypatch, place):
    monkeypatch.setattr(captioned_zips, "get_upload_folder", lambda: tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    upload = zip_files(tmp_path, {"b.png": encode_png(), "b.txt": "B.", place: encode_png()})
    assert read(upload) == {"b.png": (["B."], (30, 20))}
    text = place.replace(".png", ".txt")
    with pytest.raises(ImageError, match="its place is outside of the zip"):
        read(zip_files(tmp_path, {"b.png": encode_png(), text: "B."}))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("a.")]


@pytest.mark.parametrize(
    "members, message",
    [
        ({"a.png": encode_png()}, "some.zip: found neither"),
        ({"a.txt": "A."}, "no photos in it"),
        ({"a.png": encode_png(), "a.txt": "A.", "dataset_dict.json": "{}"}, "a saved dataset"),
        ({"a.png": encode_png(), "a.txt": "A" * 600}, "more than 500 characters"),
        ({"a.png": encode_png(), "a.txt": "A dog.\n" * 30}, "more than 20 captions"),
        ({"a.png": encode_png(), "a.txt": "A dog.\n" * 10_000}, "MB of captions"),
        ({"a.png": encode_png(), "a.png/b.txt": "A."}, "names in it cannot be used here"),
        ({"a.png": encode_png(), f"{'n' * 300}.txt": "A."}, "names in it cannot be used here"),
        ({**{f"{i}.png": b"" for i in range(4)}, "1.txt": "A."}, "more than 3 photos"),
        ({"a.png": encode_png(), "all.json": "[" * 9999}, "some.zip: found neither"),
    ],
)
def test_zips_of_no_use_are_one_line(tmp_path, monkeypatch, upload_folder, members, message):
    monkeypatch.setattr(captioned_zips, "MAX_CAPTION_BYTES", 20_000)
    monkeypatch.setattr(captioned_zips, "MAX_PHOTOS", 3)
    with pytest.raises((ImageError, DataError), match=message) as caught:
        read(zip_files(tmp_path, members))
    assert str(upload_folder) not in str(caught.value)


def test_what_is_no_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    for name, message in (("a.zip", "broken, or no zip"), ("a.png", "no zip; give a zip")):
        with pytest.raises(ImageError, match=message):
            read(Upload(str(tmp_path / "a.zip"), name))


def test_a_photo_is_unpacked_when_it_is_asked_for(tmp_path, monkeypatch):
    upload = zip_files(tmp_path, {"a.png": encode_png(), "a.txt": "A."})
    with zipfile.ZipFile(upload.path) as archive:
        sizes = {m.filename: m.file_size for m in archive.infolist()}
    opened = []
    real = zipfile.ZipExtFile.read
    monkeypatch.setattr(
        zipfile.ZipExtFile, "read", lambda self, n=-1: opened.append(self.name) or real(self, n)
    )
    with open_captioned_zip(upload) as (photo,):
        assert "a.png" not in opened
        assert len(photo.path.getvalue()) == sizes["a.png"]
    assert "a.png" in opened
