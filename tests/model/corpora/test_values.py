"""What a cell or a field means, as captions and as a split."""

import math

import pytest

from model.corpora.splits import check_splits, find_split_column, find_split_in_folders, name_split
from model.corpora.values import find_caption_columns, is_missing, read_captions
from training.data import DataError


@pytest.mark.parametrize(
    "value, captions",
    [
        ("a dog", ["a dog"]),
        (["a dog", "the dog"], ["a dog", "the dog"]),
        ("['a dog', 'the dog']", ["a dog", "the dog"]),  # a list in a cell, as pandas writes it
        ('["a dog", "the dog"]', ["a dog", "the dog"]),
        ("['a dog' \"the dog's\"]", ["a dog", "the dog's"]),  # as NumPy does
        ("['a dog'\n 'the dog']", ["a dog", "the dog"]),
        ("('a dog', 'the dog')", ["a dog", "the dog"]),
        ('["a dog", null, NaN]', ["a dog"]),
        ("['a dog', None, nan]", ["a dog"]),
        ("[]", []),
        ("[a dog in brackets]", ["[a dog in brackets]"]),
        ("(a dog) 'in brackets'", ["(a dog) 'in brackets'"]),
        ("['a dog' runs]", ["['a dog' runs]"]),
        (["a dog", None, math.nan, ["the dog"]], ["a dog", "the dog"]),
        ([{"raw": "a dog", "imgid": 1}, {"caption": "the dog"}], ["a dog", "the dog"]),
        (None, []),
        (math.nan, []),
        ("nan", []),
        ("NaN", []),
        ("None", []),
        ("null", []),
        ("", [""]),  # blank, and counted as such
        ("...", ["..."]),
        ("7", ["7"]),
        ("a man named None", ["a man named None"]),
    ],
)
def test_captions_are_read_as_what_they_mean(value, captions):
    assert read_captions(value, "line 3") == captions


@pytest.mark.parametrize("value", [7, 0, 0.5, True, ["a dog", 7], {"id": 1}, b"a dog", "[1, 2]"])
def test_what_is_no_text_is_named(value):
    with pytest.raises(DataError, match="^data.jsonl, line 3: .* caption") as caught:
        read_captions(value, "data.jsonl, line 3")
    assert "\n" not in str(caught.value)


def test_missing_values():
    assert all(map(is_missing, (None, math.nan, "", " ", "nan", "N/A", "<NA>")))
    assert not any(map(is_missing, ("a", 0, False, [])))


@pytest.mark.parametrize(
    "columns, captions",
    [
        (["image", "caption", "caption_2", "caption3"], ["caption", "caption_2", "caption3"]),
        (["text", "caption"], ["caption"]),
        (["comment_1", "comment_2"], ["comment_1", "comment_2"]),
        (["captions", "text_1"], ["captions"]),
    ],
)
def test_columns_of_captions(columns, captions):
    assert find_caption_columns(columns) == captions


NAMES = {
    "train": "train training Train TRAIN train2017 train_2014 restval trainval "
    "train-00000-of-00001",
    "dev": "val valid validation dev eval val2017 minival valminusminival-val validation_matched "
    "Dev2 development",
    "test": "test testing holdout held-out held_out test_dev test-dev2015 test2017 testA",
}


@pytest.mark.parametrize("split", NAMES)
def test_splits_by_the_names_of_the_field(split):
    names = NAMES[split].split()
    assert {name: name_split(name) for name in names} == dict.fromkeys(names, split)


def test_no_split_is_none():
    values = (None, math.nan, "", " ", "all", "full")
    assert [name_split(value) for value in values] == [None] * len(values)


@pytest.mark.parametrize("value", ["fold1", "query", 0, 1, True, "pretrain", "untrained"])
def test_an_unknown_split_is_an_error_that_lists_what_is_there(value):
    with pytest.raises(DataError) as caught:
        check_splits(["train", value, None, "val", "train"])
    message = str(caught.value)
    assert repr(value) in message and "'train'" in message and "'val'" in message
    assert "\n" not in message
    check_splits(["train", None, "val", "holdout"])


@pytest.mark.parametrize(
    "name, split",
    [
        ("train/a.jpg", "train"),
        ("train2017/a.jpg", "train"),
        ("images/test images/a.jpg", "test"),
        ("Holdout/a.jpg", "test"),
        ("val_2014/train/a.jpg", "dev"),
        ("model train/a.jpg", None),  # a railway
        ("test.jpg", None),
        ("photos/a.jpg", None),
    ],
)
def test_a_folder_may_tell_the_split(name, split):
    assert find_split_in_folders(name) == split


def test_the_column_of_splits():
    rows = [{"partition": "train", "subset": "a"}, {"partition": "holdout", "subset": "b"}]
    assert find_split_column(["image", "partition", "subset"], rows) == "partition"
    assert find_split_column(["image", "subset"], rows) is None  # it says something else
    assert find_split_column(["image", "Split"], [{"Split": "fold1"}]) == "Split"
    assert find_split_column(["image"], rows) is None


@pytest.mark.parametrize("other", [None, "", float("nan"), "unlabelled"])
def test_one_odd_value_does_not_make_a_split_column_unseen(other):
    rows = [{"partition": "train"}, {"partition": "test"}, {"partition": other}]
    assert find_split_column(["image", "partition"], rows) == "partition"


@pytest.mark.parametrize("name, split", [("testset", "test"), ("valset", "dev"), ("devel", "dev")])
def test_names_written_together(name, split):
    assert name_split(name) == find_split_in_folders(f"{name}/a.jpg") == split
