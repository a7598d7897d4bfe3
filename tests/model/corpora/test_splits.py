"""Which photos are for training, and which for dev and test."""

import pytest

from model.errors import DataError
from tests.support.corpora import (
    FIXTURES,
    describe_photo,
    list_captions,
    list_many,
    write_files,
)
from training.data import read_corpus, read_data


def test_splits_of_coco_and_of_tables(tmp_path):
    coco = list_captions(read_data(write_files(tmp_path / "coco", FIXTURES["coco"])))
    assert {n: s for n, (s, _) in coco.items()} == {
        "train2017/a.jpg": "train",
        "train2017/b.jpg": "train",
        "val2017/c.jpg": "dev",
    }
    tables = list_captions(
        read_data(write_files(tmp_path / "t", FIXTURES["kaggle, tables of splits"]))
    )
    assert {n: s for n, (s, _) in tables.items()} == {"a.jpg": "train", "b.jpg": "dev"}


def test_no_splits_are_made_from_names(tmp_path):
    corpus = read_corpus(write_files(tmp_path, list_many(tmp_path, None)))
    splits = {item.name: item.split for item in corpus.items}
    assert set(splits.values()) == {"train", "dev", "test"} and "80 / 10 / 10" in corpus.splits_from
    more = read_data(write_files(tmp_path, list_many(tmp_path, None, 80)))
    assert {item.name: item.split for item in more if item.name in splits} == splits


def test_a_missing_dev_split_comes_from_train(tmp_path):
    """Never from test, whose photos stay where they are."""
    write_files(tmp_path, {**list_many(tmp_path, "train"), **list_many(tmp_path, "test", 5)})
    corpus = read_corpus(tmp_path)
    for item in corpus.items:
        folder = item.name.partition("/")[0]
        assert item.split == "test" if folder == "test" else item.split in ("train", "dev")
    dev = [item for item in corpus.items if item.split == "dev"]
    assert 0 < len(dev) < 15 and "no dev split given" in corpus.splits_from


def test_photos_in_no_split_beside_given_ones_are_for_training(tmp_path):
    write_files(tmp_path, {**list_many(tmp_path, None), **list_many(tmp_path, "val", 5)})
    splits = {item.name: item.split for item in read_data(tmp_path)}
    assert len(splits) == 65
    assert all(s == ("dev" if n.startswith("val/") else "train") for n, s in splits.items())


def test_splits_of_json_lists(tmp_path):
    write_files(
        tmp_path, {f"{n}.json": [{"image": f"{n}.jpg", "caption": n}] for n in ("train", "val")}
    )
    assert [(i.name, i.split) for i in read_data(tmp_path)] == [
        ("train.jpg", "train"),
        ("val.jpg", "dev"),
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"metadata.jsonl": ['{"file_name": "a.jpg", "text": "a dog", "split": "fold1"}']},
        {"captions.csv": ["image,caption,split", "a.jpg,a dog,train", "b.jpg,a cat,query"]},
        {"data.json": [{"image": "a.jpg", "caption": "a dog", "split": 1}]},
        {"dataset_x.json": {"images": [describe_photo("gallery", "a.jpg", "a dog")]}},
    ],
)
def test_a_split_of_an_unknown_name_stops(files, tmp_path):
    with pytest.raises(DataError, match="call each train, validation or test"):
        read_data(write_files(tmp_path, files))
