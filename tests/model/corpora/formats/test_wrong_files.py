"""Data that cannot be used, or not all of it, is named in one line."""

import json

import pytest

from model.corpora.formats import recognise
from model.errors import DataError
from tests.support.corpora import (
    COCO,
    FIXTURES,
    PHOTO,
    write_files,
)
from training.data import FORMATS, read_corpus, read_data, read_split


@pytest.mark.parametrize(
    "files, message",
    [
        ({"captions_x.json": "["}, "captions_x.json: not captions in COCO's format"),
        (
            {"captions_x.json": {"annotations": [], "images": [{"id": 1, "file_name": 7}]}},
            "captions_x.json: not captions in COCO's format .*7 stands for a photo's name",
        ),
        ({"dataset_coco.json": {"images": [{}]}}, "not one of Karpathy's files .KeyError"),
        ({"dataset_a.json": {}, "dataset_b.json": {}}, "dataset_a.json, dataset_b.json; keep one"),
        ({"metadata.jsonl": ["{}", "{"]}, "metadata.jsonl, line 2: not a JSON object"),
        ({"metadata.jsonl": ['{"document": "a"}']}, "has no file_name, only document"),
        ({"metadata.csv": ["file_name,said", "a.jpg,x"]}, "no column of captions among file_name"),
        (
            {"captions.txt": ["picture,words", "a.jpg,x"]},
            "must name columns image and caption, not",
        ),
        ({"captions.txt": ["image,caption", f'a.jpg,"{"x" * 200_000}']}, "line 2: field larger"),
        ({"a.jpg": PHOTO}, "found neither Flickr8k.token.txt nor captions.txt nor metadata.jsonl"),
    ],
)
def test_broken_files_are_one_line(files, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        read_data(write_files(tmp_path, files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["coco", "karpathy", "flickr", "kaggle"])
def test_a_slip_of_ours_is_not_told_as_the_files(format, tmp_path, monkeypatch):
    def slip(*arguments):
        raise TypeError("a slip")

    monkeypatch.setattr(FORMATS[format], "find_photo_folder", slip)
    with pytest.raises(TypeError, match="a slip"):
        read_data(write_files(tmp_path, FIXTURES[format]), format)


def test_broken_json_and_text_name_the_file(tmp_path):
    (tmp_path / "captions_val2017.json").write_text('{"images": [')
    with pytest.raises(DataError, match="captions_val2017.json: broken JSON .*download it again"):
        read_data(tmp_path)
    (tmp_path / "captions.txt").write_bytes("image,caption\na.jpg,déjà vu".encode("latin-1"))
    with pytest.raises(DataError, match="captions.txt: not text in UTF-8 .*save it as UTF-8"):
        read_data(tmp_path, "kaggle")


def test_a_text_without_its_photo_is_a_lost_photo(tmp_path):
    write_files(
        tmp_path, {"a.jpg": PHOTO, "a.txt": "a dog", "b.txt": "a cat", "licence.txt": "free"}
    )
    write_files(tmp_path, {"notes/todo.txt": "nothing of this is a caption"})
    assert {i.name: i.path.is_file() for i in read_data(tmp_path)} == {"a.jpg": True, "b": False}


def test_lost_photos_are_found_all_the_same(tmp_path):
    """The inspector reports them; a split that is to be scored must be whole."""
    write_files(tmp_path, FIXTURES["coco"])
    (tmp_path / "val2017" / "c.jpg").unlink()
    assert len(read_data(tmp_path)) == 3
    with pytest.raises(DataError, match="c.jpg: missing, though it has captions"):
        read_split(tmp_path, "dev")


def test_captions_of_a_photo_that_coco_does_not_list(tmp_path):
    stray = {"image_id": 99, "id": 9, "caption": "a ghost"}
    write_files(tmp_path, {"captions.json": {**COCO, "annotations": [*COCO["annotations"], stray]}})
    assert "image 99" in {item.name for item in read_data(tmp_path)}


def test_a_damaged_table_names_file_and_line(tmp_path):
    lines = ["image,caption", "a.jpg,a dog", "b.jpg", "c.jpg,a cat"]
    with pytest.raises(DataError, match="captions.txt, line 3: ends before the column caption"):
        read_data(write_files(tmp_path / "short", {"captions.txt": lines}))
    lines = ["image,caption", ",a dog"]
    with pytest.raises(DataError, match="captions.txt, line 2: no photo in the column image"):
        read_data(write_files(tmp_path / "nameless", {"captions.txt": lines}))
    lines = ["file_name,text,split", "a.jpg,a dog, wet,train"]
    with pytest.raises(DataError, match="metadata.csv, line 2: 4 cells for 3 columns"):
        read_data(write_files(tmp_path / "hub", {"metadata.csv": lines}))


def test_captions_without_words_are_counted(tmp_path):
    rows = [
        f'{{"file_name": "{n}.jpg", "text": "{text}"}}' for n, text in ((1, "..."), (2, "a dog"))
    ]
    corpus = read_corpus(write_files(tmp_path, {"metadata.jsonl": rows}))
    assert [item.name for item in corpus.items] == ["2.jpg"] and corpus.wordless == ["1.jpg"]
    assert [item.name for item in corpus.without_captions] == ["1.jpg"]


def test_a_number_for_a_caption_names_its_line(tmp_path):
    rows = ['{"file_name": "a.jpg", "text": "a dog"}', '{"file_name": "b.jpg", "text": 7}']
    with pytest.raises(DataError, match="metadata.jsonl, line 2: 7 stands for a caption"):
        read_data(write_files(tmp_path, {"metadata.jsonl": rows}))


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.txt", "data.csv"])
def test_empty_files(name, tmp_path):
    with pytest.raises(DataError, match=f"{name}.*(empty|nothing in it)"):
        read_data(write_files(tmp_path, {name: ""}))


def test_an_empty_metadata_file_beside_a_full_one(tmp_path):
    rows = ['{"file_name": "a.jpg", "text": "a dog"}']
    (item,) = read_data(write_files(tmp_path, {"metadata.jsonl": "", "train/metadata.jsonl": rows}))
    assert item.name == "train/a.jpg"


def test_columns_that_were_seen_are_listed(tmp_path):
    write_files(
        tmp_path, {"data.csv": ["id,picture,words", "1,a.jpg,x"], "x.json": [{"pic": "a", "w": 1}]}
    )
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    message = str(caught.value)
    assert "data.csv has id, picture, words" in message and "x.json has pic, w" in message


def test_git_lfs_pointers(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    for name in ("metadata.jsonl", "captions.txt", "captions.json", "data.parquet"):
        folder = write_files(tmp_path / name, {})
        folder.mkdir()
        (folder / name).write_text(pointer)
        with pytest.raises(DataError, match=f"{name}: a Git LFS pointer.*git lfs pull"):
            read_data(folder, cache=tmp_path / "cache")


def test_an_address_of_the_hub(tmp_path):
    for address in (
        "https://huggingface.co/datasets/someone/photos",
        "hf.co/datasets/a/b/tree/main",
    ):
        assert recognise(address) == "hub"
        with pytest.raises(DataError, match="nor a dataset that loads"):
            read_data(address, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="a model or a Space of the hub, not a dataset"):
        read_data("https://huggingface.co/someone/model")


@pytest.mark.parametrize("there, listed", [("a.JPG", "a.jpg"), ("x/a.jpg", "x\\a.jpg")])
def test_a_missing_photo_is_named_with_what_lies_beside_it(there, listed, tmp_path):
    rows = [json.dumps({"file_name": listed, "text": "a dog", "split": "test"})]
    write_files(tmp_path, {there: PHOTO, "metadata.jsonl": rows})
    with pytest.raises(DataError, match="missing, though it has captions; did you mean ") as e:
        read_split(tmp_path, "test")
    assert there in str(e.value)
