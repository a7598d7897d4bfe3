"""Every format that captions come in: written as people have it, and read back."""

import json
from pathlib import Path

import pytest

from model.corpora.formats import recognise
from model.errors import DataError, OptionError
from tests.support.corpora import (
    COCO,
    FIXTURES,
    PHOTO,
    list_captions,
    write_files,
)
from training.data import FORMATS, read_corpus, read_data


@pytest.mark.parametrize("kind", FIXTURES)
def test_a_format_is_recognised_and_read(kind, tmp_path):
    folder = write_files(tmp_path / "data", FIXTURES[kind])
    format = kind.split(",")[0].split()[0]
    assert recognise(folder) == format
    items = read_data(folder)
    assert items == read_data(folder, format)
    found = list_captions(items)
    by_file = {Path(name).name: value for name, value in found.items()}
    assert len(by_file) == len(items)
    dog = next(v for k, v in by_file.items() if k.lower() == "a.jpg")
    assert len(dog[1]) == 2 and dog[1][0].startswith("a ") and dog[1][1] == "the dog"
    others = {name: said for name, (_, said) in by_file.items() if name.lower() != "a.jpg"}
    expected = {"b.c.png": ["cat"]} if kind == "textfiles" else {"b.jpg": ["cat"]}
    if format == "coco":
        expected = {"b.jpg": ["a cat"]} | ({"c.jpg": ["a cup"]} if kind == "coco" else {})
    assert others == expected
    # where the fixture has splits
    if kind in ("flickr", "karpathy", "karpathy 8k", "imagefolder", "textfiles"):
        assert [item.split for item in items] in (["train", "dev"], ["dev", "train"])
        assert dog[0] == "train"


def test_quotes_and_bars_of_flickr30k(tmp_path):
    items = read_data(write_files(tmp_path, FIXTURES["kaggle 30k"]))
    assert items[0].captions == ['a "dog , left', "the dog"]


def test_a_format_by_name(tmp_path):
    """Two formats in one folder: the name decides."""
    write_files(tmp_path, {**FIXTURES["kaggle"], "Images/a.txt": "a horse"})
    assert recognise(tmp_path) == "kaggle"
    assert [i.captions for i in read_data(tmp_path, "textfiles")] == [["a horse"]]
    with pytest.raises(DataError, match="not coco, found no annotations/captions"):
        read_data(tmp_path, "coco")
    with pytest.raises(OptionError, match=f"'zip' is unknown; choose from {', '.join(FORMATS)}"):
        read_data(tmp_path, "zip")


def test_photos_elsewhere(tmp_path):
    """Paths in full, and captions that are null."""
    write_files(tmp_path / "photos", {"a.jpg": PHOTO})
    path = str(tmp_path / "photos" / "a.jpg")
    rows = [json.dumps({"file_name": path, "text": said}) for said in ("a dog", None)]
    (item,) = read_data(write_files(tmp_path / "data", {"metadata.jsonl": rows}))
    assert item.name == path and item.path.is_file() and item.captions == ["a dog"]
    null = {"image_id": 7, "id": 9, "caption": None}
    write_files(tmp_path / "coco", {"captions.json": {**COCO, "annotations": [null]}})
    assert read_data(tmp_path / "coco") == []


@pytest.mark.parametrize(
    "files",
    [
        {"data.json": [{"image": "a.jpg", "caption": "a dog"}]},
        {"data.json": [{"image_path": "a.jpg", "captions": ["a dog", None]}]},
        {"data.jsonl": ['{"image": "a.jpg", "caption": "a dog"}']},
        {"captions.json": [{"file_name": "a.jpg", "caption": "a dog"}]},
        {"data.csv": ["image_path,caption", "a.jpg,a dog"]},
        {"data.csv": ["path,caption", "a.jpg,a dog"]},
        {"data.CSV": ["name,caption", "a.jpg,a dog"]},
        {"data.csv": [",image,caption", "0,a.jpg,a dog"]},  # with pandas' index
        {"metadata.jsonl": ['{"image": "a.jpg", "text": "a dog"}']},
        {"metadata.jsonl": ['{"file_name": "a.jpg", "text": ["a dog", NaN]}']},
        {"metadata.csv": ["file_name,text", "a.jpg,\"['a dog']\""]},
        {"a.caption": "a dog"},
        {"a.jpg.txt": "a dog"},
    ],
)
def test_what_other_tools_write(files, tmp_path):
    (item,) = read_data(write_files(tmp_path, {**files, "a.jpg": PHOTO}))
    assert (item.name, item.captions, item.path.is_file()) == ("a.jpg", ["a dog"], True)


def test_captions_of_two_metadata_files_count_once(tmp_path):
    """In the root and in a split's folder, as copies of a dataset often have them."""
    above = ['{"file_name": "train/a.jpg", "text": ["a dog", "the dog", "the dog"]}']
    below = ['{"file_name": "a.jpg", "text": ["a dog", "the dog", "my dog"]}']
    files = {"metadata.jsonl": above, "train/metadata.jsonl": below, "train/a.jpg": PHOTO}
    (item,) = read_data(write_files(tmp_path, files))
    assert item.captions == ["a dog", "the dog", "the dog", "my dog"]


def test_links_to_folders(tmp_path):
    """Followed in every format; a circle ends, and nothing is read twice by it."""
    elsewhere = write_files(tmp_path / "disk", {"a.jpg": PHOTO, "a.txt": "a dog"})
    write_files(tmp_path / "texts", {"b.jpg": PHOTO, "b.txt": "a cat"})
    (tmp_path / "texts" / "more").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(tmp_path / "texts")
    assert sorted(list_captions(read_data(tmp_path / "texts"))) == ["b.jpg", "more/a.jpg"]
    write_files(tmp_path / "hub", {"metadata.jsonl": ['{"file_name": "a.jpg", "text": "a dog"}']})
    (tmp_path / "hub" / "a.jpg").symlink_to(elsewhere / "a.jpg")
    (tmp_path / "hub" / "here").symlink_to(tmp_path / "hub")
    assert list_captions(read_data(tmp_path / "hub")) == {
        "a.jpg": (read_data(tmp_path / "hub")[0].split, ["a dog"])
    }
    write_files(tmp_path / "table", {"captions.txt": ["image,caption", "a.jpg,a dog"]})
    (tmp_path / "table" / "Images").symlink_to(elsewhere)
    assert list(list_captions(read_data(tmp_path / "table"))) == ["a.jpg"]


def test_ids_as_text_and_as_numbers(tmp_path):
    texts = [{**one, "image_id": str(one["image_id"])} for one in COCO["annotations"]]
    write_files(tmp_path, {"captions.json": {**COCO, "annotations": texts}, "a.jpg": PHOTO})
    assert {i.name: len(i.captions) for i in read_data(tmp_path)} == {"a.jpg": 2, "b.jpg": 1}


@pytest.mark.parametrize(
    "files",
    [
        {"Flickr8k.token.txt": ["a.jpg#0\tnan", "b.jpg#0\ta dog"]},
        {"captions.txt": ["image,caption", "a.jpg,NaN", "b.jpg,a dog"]},
        {"a.txt": "None", "b.txt": "a dog", "a.jpg": PHOTO, "b.jpg": PHOTO},
        {"metadata.csv": ["file_name,text", "a.jpg,null", "b.jpg,a dog"]},
        {
            "data.json": [
                {"image": "a.jpg", "caption": None},
                {"image": "b.jpg", "caption": "a dog"},
            ]
        },
    ],
)
def test_a_missing_caption_is_none_in_every_format(files, tmp_path):
    corpus = read_corpus(write_files(tmp_path, files))
    assert [(item.name, item.captions) for item in corpus.items] == [("b.jpg", ["a dog"])]
    assert [item.name for item in corpus.without_captions] == ["a.jpg"]
