"""Datasets as the hub gives them out."""

import datasets
import pytest

from model.corpora.formats import recognise
from model.corpora.formats.hub import write_imagefolder
from model.errors import DataError
from tests.support.corpora import (
    PHOTO,
    write_files,
)
from tests.support.tiny import draw_photo
from training.data import read_data


def rows(tmp_path, *numbers: int) -> list[dict]:
    found = []
    for number in numbers:
        draw_photo(8, 8, (number * 9, 0, 90)).save(tmp_path / f"{number}.jpg")
        photo = (tmp_path / f"{number}.jpg").read_bytes()
        found.append({"image": {"bytes": photo, "path": f"{number}.jpg"}, "number": number})
    return found


def as_dataset(rows: list[dict], **features) -> datasets.Dataset:
    kinds = {"image": datasets.Image(), "number": datasets.Value("int64"), **features}
    return datasets.Dataset.from_list(rows, features=datasets.Features(kinds))


TEXT = datasets.Value("string")


TEXTS = datasets.List(TEXT)


@pytest.fixture
def parts(tmp_path):
    train = [{**row, "captions": ["a dog", "the dog"]} for row in rows(tmp_path, 1, 2)]
    dev = [{**row, "captions": ["a cat"]} for row in rows(tmp_path, 3)]
    return datasets.DatasetDict(
        {"train": as_dataset(train, captions=TEXTS), "validation": as_dataset(dev, captions=TEXTS)}
    )


@pytest.mark.parametrize("saved", [True, False])
def test_a_dataset_of_the_hub(parts, saved, tmp_path):
    """Saved with save_to_disk, or parquet files as the hub keeps them."""
    folder = tmp_path / "data"
    if saved:
        parts.save_to_disk(folder)
    else:
        (folder / "data").mkdir(parents=True)
        for name, part in parts.items():
            part.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    assert recognise(folder) == "hub"
    items = read_data(folder, cache=tmp_path / "cache")
    assert sorted((i.split, i.captions) for i in items) == [
        ("dev", ["a cat"]),
        ("train", ["a dog", "the dog"]),
        ("train", ["a dog", "the dog"]),
    ]
    # the photos are the bytes that were in the dataset, written once
    originals = {(tmp_path / f"{n}.jpg").read_bytes() for n in (1, 2, 3)}
    assert {item.path.read_bytes() for item in items} == originals
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    assert read_data(folder, cache=tmp_path / "cache") == items
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    assert after == before and not any("unfinished" in path.name for path in after)


def test_one_caption_a_row(tmp_path):
    """Rows with the same photo are one photo, and a column may tell the split."""
    found = [
        {**row, "caption": said, "split": split}
        for row, said, split in zip(
            rows(tmp_path, 1, 1, 2),
            ("a dog", "the dog", "cat"),
            ("train", "train", "val"),
            strict=True,
        )
    ]
    as_dataset(found, caption=TEXT, split=TEXT).save_to_disk(tmp_path / "data")
    items = read_data(tmp_path / "data", cache=tmp_path / "cache")
    assert sorted((i.split, i.captions) for i in items) == [
        ("dev", ["cat"]),
        ("train", ["a dog", "the dog"]),
    ]


@pytest.mark.parametrize(
    "columns, captions",
    [
        ({"text": "a dog"}, ["a dog"]),
        ({"sentences_raw": ["a dog", "a cat"]}, ["a dog", "a cat"]),
        ({"caption_0": "a dog", "caption_1": "a cat"}, ["a dog", "a cat"]),
        ({"sentences": [{"raw": "a dog", "imgid": 1}]}, ["a dog"]),
        ({"sentences": {"raw": "a dog", "imgid": 1}}, ["a dog"]),
    ],
)
def test_columns_of_captions(columns, captions, tmp_path):
    (row,) = rows(tmp_path, 1)
    datasets.Dataset.from_list([{**row, **columns}]).save_to_disk(tmp_path / "data")
    (item,) = read_data(tmp_path / "data", cache=tmp_path / "cache")
    assert item.captions == captions


def test_datasets_that_cannot_be_used(tmp_path):
    (row,) = rows(tmp_path, 1)
    datasets.Dataset.from_list([row]).save_to_disk(tmp_path / "mute")
    datasets.Dataset.from_list([{"text": "a dog"}]).save_to_disk(tmp_path / "blind")
    for data, message in (
        (tmp_path / "mute", "no column of captions among number"),
        (tmp_path / "blind", "no column of photos among text"),
        ("someone/photos", "someone/photos: neither a folder nor a dataset that loads"),
    ):
        with pytest.raises(DataError, match=message):
            read_data(data, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())  # nothing half written is left


def test_a_row_without_photo_is_a_lost_photo(tmp_path):
    found = [{**row, "text": "a dog"} for row in rows(tmp_path, 1, 2)]
    found[1]["image"] = None
    as_dataset(found, text=TEXT).save_to_disk(tmp_path / "data")
    items = read_data(tmp_path / "data", cache=tmp_path / "cache")
    assert sorted(item.path.is_file() for item in items) == [False, True]
    assert write_imagefolder(tmp_path / "data", tmp_path / "cache").is_dir()


def test_parquet_rows_with_a_path_alone(tmp_path):
    """From the dataset's folder, as bytes that are not there, or as a column of text."""
    write_files(tmp_path / "structs", {"photos/a.jpg": PHOTO, "photos/b.jpg": PHOTO})
    found = [
        {"image": {"bytes": None, "path": f"photos/{n}.jpg"}, "text": f"dog {n}"} for n in "ab"
    ]
    datasets.Dataset.from_list(found).to_parquet(tmp_path / "structs" / "train.parquet")
    write_files(tmp_path / "texts", {"photos/a.jpg": PHOTO, "photos/b.jpg": PHOTO})
    found = [{"file_name": f"photos/{n}.jpg", "text": f"dog {n}"} for n in "ab"]
    datasets.Dataset.from_list(found).to_parquet(tmp_path / "texts" / "train.parquet")
    for name in ("structs", "texts"):
        items = read_data(tmp_path / name, cache=tmp_path / "cache")
        assert sorted(c for i in items for c in i.captions) == ["dog a", "dog b"]
        assert all(item.path.is_file() for item in items)
