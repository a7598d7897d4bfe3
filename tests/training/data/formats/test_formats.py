"""Every format that captions come in: written as people have it, and read back."""

import json
from pathlib import Path

import datasets
import pytest

from model.errors import DataError, OptionError
from tests.support.tiny import draw_photo
from training.data import FORMATS, CaptionedImage, read_corpus, read_data, read_split
from training.data.formats import recognise
from training.data.formats.hub import write_imagefolder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What `datasets` caches stays with the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


def write(folder: Path, files: dict[str, object]) -> Path:
    """A folder of files: photos, texts, lists of lines, and JSON."""
    for number, (name, content) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is PHOTO:
            draw_photo(8, 8, (number * 9, 0, 90)).save(path)
        elif path.suffix == ".json":
            path.write_text(json.dumps(content))
        else:
            path.write_text(content if isinstance(content, str) else "\n".join(content))
    return folder


def told(items: list[CaptionedImage]) -> dict[str, tuple[str, list[str]]]:
    """Split and captions by name, once it is clear that the photos are there."""
    assert all(item.path.is_file() for item in items)
    return {item.name: (item.split, item.captions) for item in items}


PHOTO = object()
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 7, "id": 1, "caption": "a dog"},
        {"image_id": 8, "id": 2, "caption": "a cat"},
        {"image_id": 7, "id": 3, "caption": "the dog"},
    ],
}
COCO_DEV = {
    "images": [{"id": 9, "file_name": "c.jpg"}],
    "annotations": [{"image_id": 9, "id": 4, "caption": "a cup"}],
}


def karpathy(split: str, name: str, *captions: str, **more: str) -> dict:
    sentences = [{"raw": said, "tokens": said.split()} for said in captions]
    return {"filename": name, "split": split, "sentences": sentences, **more}


FIXTURES = {
    "flickr": {
        "Flickr8k_text/Flickr8k.token.txt": ["a.jpg#0\ta dog", "a.jpg#1\tthe dog", "b.jpg#0\tcat"],
        "Flickr8k_text/Flickr8k.lemma.token.txt": ["a.jpg#0\tdogs"],
        "Flickr8k_text/Flickr_8k.trainImages.txt": ["a.jpg"],
        "Flickr8k_text/Flickr_8k.devImages.txt": ["b.jpg"],
        "Flicker8k_Dataset/a.jpg": PHOTO,
        "Flicker8k_Dataset/b.jpg": PHOTO,
    },
    "flickr 30k": {
        "results_20130124.token": ["a.jpg#0\ta dog", "a.jpg#1\tthe dog", "b.jpg#0\tcat"],
        "flickr30k-images/a.jpg": PHOTO,
        "flickr30k-images/b.jpg": PHOTO,
    },
    "kaggle": {
        "captions.txt": ["image,caption", 'a.jpg,"a dog, left"', "a.jpg,the dog", "b.jpg,cat"],
        "Images/a.jpg": PHOTO,
        "Images/b.jpg": PHOTO,
    },
    "kaggle 30k": {
        "results.csv": [
            "image_name| comment_number| comment",
            'a.jpg| 0| a "dog , left',
            "a.jpg| 1   the dog",
            "b.jpg| 0| cat",
        ],
        "flickr30k_images/a.jpg": PHOTO,
        "flickr30k_images/b.jpg": PHOTO,
    },
    "kaggle, tables of splits": {
        "train.csv": ["filename;caption_1;caption_2", "a.jpg;a dog;the dog"],
        "val.csv": ["filename;caption_1;caption_2", "b.jpg;cat;"],
        "a.jpg": PHOTO,
        "b.jpg": PHOTO,
    },
    "imagefolder": {
        "train/metadata.jsonl": ['{"file_name": "a.jpg", "text": ["a dog", "the dog"]}'],
        "train/a.jpg": PHOTO,
        "validation/metadata.csv": ["file_name,text", "b.jpg,cat"],
        "validation/b.jpg": PHOTO,
    },
    "imagefolder, one file": {
        "metadata.jsonl": [
            '{"file_name": "a.jpg", "text": "a dog"}',
            '{"file_name": "val/b.jpg", "text": "cat"}',
            '{"file_name": "a.jpg", "text": "the dog"}',
        ],
        "a.jpg": PHOTO,
        "val/b.jpg": PHOTO,
    },
    "karpathy": {
        "dataset_coco.json": {
            "images": [
                karpathy("restval", "a.jpg", "a dog", "the dog", filepath="val2014"),
                karpathy("val", "b.jpg", "cat", filepath="val2014"),
            ]
        },
        "val2014/a.jpg": PHOTO,
        "val2014/b.jpg": PHOTO,
    },
    "karpathy 8k": {
        "dataset_flickr8k.json": {
            "images": [
                karpathy("train", "a.jpg", "a dog", "the dog"),
                karpathy("val", "b.jpg", "cat"),
            ]
        },
        "imgs/a.jpg": PHOTO,
        "imgs/b.jpg": PHOTO,
    },
    "coco": {
        "annotations/captions_train2017.json": COCO,
        "annotations/captions_val2017.json": COCO_DEV,
        "annotations/instances_val2017.json": {"annotations": [{"bbox": [0, 0, 1, 1]}]},
        "train2017/a.jpg": PHOTO,
        "train2017/b.jpg": PHOTO,
        "val2017/c.jpg": PHOTO,
    },
    "coco, one file": {
        "mine.json": COCO,
        "instances.json": {"annotations": [{"bbox": [0, 0, 1, 1]}]},
        "a.jpg": PHOTO,
        "b.jpg": PHOTO,
    },
    "textfiles": {
        "train/a.JPG": PHOTO,
        "train/a.txt": ["a dog", "", "the dog"],
        "dev/b.c.png": PHOTO,
        "dev/b.c.txt": "cat",
        "README.txt": "mine",
        ".hidden/x.txt": "no",
    },
}


@pytest.mark.parametrize("kind", FIXTURES)
def test_a_format_is_recognised_and_read(kind, tmp_path):
    folder = write(tmp_path / "data", FIXTURES[kind])
    format = kind.split(",")[0].split()[0]
    assert recognise(folder) == format
    items = read_data(folder)
    assert items == read_data(folder, format)
    found = told(items)
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


def test_splits_of_coco_and_of_tables(tmp_path):
    coco = told(read_data(write(tmp_path / "coco", FIXTURES["coco"])))
    assert {n: s for n, (s, _) in coco.items()} == {
        "train2017/a.jpg": "train",
        "train2017/b.jpg": "train",
        "val2017/c.jpg": "dev",
    }
    tables = told(read_data(write(tmp_path / "t", FIXTURES["kaggle, tables of splits"])))
    assert {n: s for n, (s, _) in tables.items()} == {"a.jpg": "train", "b.jpg": "dev"}


def test_quotes_and_bars_of_flickr30k(tmp_path):
    items = read_data(write(tmp_path, FIXTURES["kaggle 30k"]))
    assert items[0].captions == ['a "dog , left', "the dog"]


# --- datasets of the hub -------------------------------------------------------------------------


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


# --- splits --------------------------------------------------------------------------------------


def many(tmp_path, split: str | None, count: int = 60) -> dict[str, object]:
    place = f"{split}/" if split else ""
    lines = [
        json.dumps({"file_name": f"{number}.jpg", "text": f"dog {number}"})
        for number in range(count)
    ]
    return {f"{place}metadata.jsonl": lines}


def test_no_splits_are_made_from_names(tmp_path):
    corpus = read_corpus(write(tmp_path, many(tmp_path, None)))
    splits = {item.name: item.split for item in corpus.items}
    assert set(splits.values()) == {"train", "dev", "test"} and "80 / 10 / 10" in corpus.splits_from
    more = read_data(write(tmp_path, many(tmp_path, None, 80)))
    assert {item.name: item.split for item in more if item.name in splits} == splits


def test_a_missing_dev_split_comes_from_train(tmp_path):
    """Never from test, whose photos stay where they are."""
    write(tmp_path, {**many(tmp_path, "train"), **many(tmp_path, "test", 5)})
    corpus = read_corpus(tmp_path)
    for item in corpus.items:
        folder = item.name.partition("/")[0]
        assert item.split == "test" if folder == "test" else item.split in ("train", "dev")
    dev = [item for item in corpus.items if item.split == "dev"]
    assert 0 < len(dev) < 15 and "no dev split given" in corpus.splits_from


def test_photos_in_no_split_beside_given_ones_are_for_training(tmp_path):
    write(tmp_path, {**many(tmp_path, None), **many(tmp_path, "val", 5)})
    splits = {item.name: item.split for item in read_data(tmp_path)}
    assert len(splits) == 65
    assert all(s == ("dev" if n.startswith("val/") else "train") for n, s in splits.items())


# --- what is wrong -------------------------------------------------------------------------------


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
        read_data(write(tmp_path, files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["coco", "karpathy", "flickr", "kaggle"])
def test_a_slip_of_ours_is_not_told_as_the_files(format, tmp_path, monkeypatch):
    def slip(*arguments):
        raise TypeError("a slip")

    monkeypatch.setattr(FORMATS[format], "find_photo_folder", slip)
    with pytest.raises(TypeError, match="a slip"):
        read_data(write(tmp_path, FIXTURES[format]), format)


def test_broken_json_and_text_name_the_file(tmp_path):
    (tmp_path / "captions_val2017.json").write_text('{"images": [')
    with pytest.raises(DataError, match="captions_val2017.json: broken JSON .*download it again"):
        read_data(tmp_path)
    (tmp_path / "captions.txt").write_bytes("image,caption\na.jpg,déjà vu".encode("latin-1"))
    with pytest.raises(DataError, match="captions.txt: not text in UTF-8 .*save it as UTF-8"):
        read_data(tmp_path, "kaggle")


def test_a_format_by_name(tmp_path):
    """Two formats in one folder: the name decides."""
    write(tmp_path, {**FIXTURES["kaggle"], "Images/a.txt": "a horse"})
    assert recognise(tmp_path) == "kaggle"
    assert [i.captions for i in read_data(tmp_path, "textfiles")] == [["a horse"]]
    with pytest.raises(DataError, match="not coco, found no annotations/captions"):
        read_data(tmp_path, "coco")
    with pytest.raises(OptionError, match=f"'zip' is unknown; choose from {', '.join(FORMATS)}"):
        read_data(tmp_path, "zip")


def test_photos_elsewhere(tmp_path):
    """Paths in full, and captions that are null."""
    write(tmp_path / "photos", {"a.jpg": PHOTO})
    path = str(tmp_path / "photos" / "a.jpg")
    rows = [json.dumps({"file_name": path, "text": said}) for said in ("a dog", None)]
    (item,) = read_data(write(tmp_path / "data", {"metadata.jsonl": rows}))
    assert item.name == path and item.path.is_file() and item.captions == ["a dog"]
    null = {"image_id": 7, "id": 9, "caption": None}
    write(tmp_path / "coco", {"captions.json": {**COCO, "annotations": [null]}})
    assert read_data(tmp_path / "coco") == []


def test_a_text_without_its_photo_is_a_lost_photo(tmp_path):
    write(tmp_path, {"a.jpg": PHOTO, "a.txt": "a dog", "b.txt": "a cat", "licence.txt": "free"})
    write(tmp_path, {"notes/todo.txt": "nothing of this is a caption"})
    assert {i.name: i.path.is_file() for i in read_data(tmp_path)} == {"a.jpg": True, "b": False}


def test_lost_photos_are_found_all_the_same(tmp_path):
    """The inspector reports them; a split that is to be scored must be whole."""
    write(tmp_path, FIXTURES["coco"])
    (tmp_path / "val2017" / "c.jpg").unlink()
    assert len(read_data(tmp_path)) == 3
    with pytest.raises(DataError, match="c.jpg: missing, though it has captions"):
        read_split(tmp_path, "dev")


def test_captions_of_a_photo_that_coco_does_not_list(tmp_path):
    stray = {"image_id": 99, "id": 9, "caption": "a ghost"}
    write(tmp_path, {"captions.json": {**COCO, "annotations": [*COCO["annotations"], stray]}})
    assert "image 99" in {item.name for item in read_data(tmp_path)}


# --- what others write ---------------------------------------------------------------------------


def test_a_damaged_table_names_file_and_line(tmp_path):
    lines = ["image,caption", "a.jpg,a dog", "b.jpg", "c.jpg,a cat"]
    with pytest.raises(DataError, match="captions.txt, line 3: ends before the column caption"):
        read_data(write(tmp_path / "short", {"captions.txt": lines}))
    lines = ["image,caption", ",a dog"]
    with pytest.raises(DataError, match="captions.txt, line 2: no photo in the column image"):
        read_data(write(tmp_path / "nameless", {"captions.txt": lines}))
    lines = ["file_name,text,split", "a.jpg,a dog, wet,train"]
    with pytest.raises(DataError, match="metadata.csv, line 2: 4 cells for 3 columns"):
        read_data(write(tmp_path / "hub", {"metadata.csv": lines}))


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
    (item,) = read_data(write(tmp_path, {**files, "a.jpg": PHOTO}))
    assert (item.name, item.captions, item.path.is_file()) == ("a.jpg", ["a dog"], True)


def test_splits_of_json_lists(tmp_path):
    write(tmp_path, {f"{n}.json": [{"image": f"{n}.jpg", "caption": n}] for n in ("train", "val")})
    assert [(i.name, i.split) for i in read_data(tmp_path)] == [
        ("train.jpg", "train"),
        ("val.jpg", "dev"),
    ]


def test_captions_of_two_metadata_files_count_once(tmp_path):
    """In the root and in a split's folder, as copies of a dataset often have them."""
    above = ['{"file_name": "train/a.jpg", "text": ["a dog", "the dog", "the dog"]}']
    below = ['{"file_name": "a.jpg", "text": ["a dog", "the dog", "my dog"]}']
    files = {"metadata.jsonl": above, "train/metadata.jsonl": below, "train/a.jpg": PHOTO}
    (item,) = read_data(write(tmp_path, files))
    assert item.captions == ["a dog", "the dog", "the dog", "my dog"]


def test_links_to_folders(tmp_path):
    """Followed in every format; a circle ends, and nothing is read twice by it."""
    elsewhere = write(tmp_path / "disk", {"a.jpg": PHOTO, "a.txt": "a dog"})
    write(tmp_path / "texts", {"b.jpg": PHOTO, "b.txt": "a cat"})
    (tmp_path / "texts" / "more").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(tmp_path / "texts")
    assert sorted(told(read_data(tmp_path / "texts"))) == ["b.jpg", "more/a.jpg"]
    write(tmp_path / "hub", {"metadata.jsonl": ['{"file_name": "a.jpg", "text": "a dog"}']})
    (tmp_path / "hub" / "a.jpg").symlink_to(elsewhere / "a.jpg")
    (tmp_path / "hub" / "here").symlink_to(tmp_path / "hub")
    assert told(read_data(tmp_path / "hub")) == {
        "a.jpg": (read_data(tmp_path / "hub")[0].split, ["a dog"])
    }
    write(tmp_path / "table", {"captions.txt": ["image,caption", "a.jpg,a dog"]})
    (tmp_path / "table" / "Images").symlink_to(elsewhere)
    assert list(told(read_data(tmp_path / "table"))) == ["a.jpg"]


def test_ids_as_text_and_as_numbers(tmp_path):
    texts = [{**one, "image_id": str(one["image_id"])} for one in COCO["annotations"]]
    write(tmp_path, {"captions.json": {**COCO, "annotations": texts}, "a.jpg": PHOTO})
    assert {i.name: len(i.captions) for i in read_data(tmp_path)} == {"a.jpg": 2, "b.jpg": 1}


@pytest.mark.parametrize(
    "files",
    [
        {"metadata.jsonl": ['{"file_name": "a.jpg", "text": "a dog", "split": "fold1"}']},
        {"captions.csv": ["image,caption,split", "a.jpg,a dog,train", "b.jpg,a cat,query"]},
        {"data.json": [{"image": "a.jpg", "caption": "a dog", "split": 1}]},
        {"dataset_x.json": {"images": [karpathy("gallery", "a.jpg", "a dog")]}},
    ],
)
def test_a_split_of_an_unknown_name_stops(files, tmp_path):
    with pytest.raises(DataError, match="call each train, validation or test"):
        read_data(write(tmp_path, files))


def test_captions_without_words_are_counted(tmp_path):
    rows = [
        f'{{"file_name": "{n}.jpg", "text": "{text}"}}' for n, text in ((1, "..."), (2, "a dog"))
    ]
    corpus = read_corpus(write(tmp_path, {"metadata.jsonl": rows}))
    assert [item.name for item in corpus.items] == ["2.jpg"] and corpus.wordless == ["1.jpg"]
    assert [item.name for item in corpus.without_captions] == ["1.jpg"]


def test_a_number_for_a_caption_names_its_line(tmp_path):
    rows = ['{"file_name": "a.jpg", "text": "a dog"}', '{"file_name": "b.jpg", "text": 7}']
    with pytest.raises(DataError, match="metadata.jsonl, line 2: 7 stands for a caption"):
        read_data(write(tmp_path, {"metadata.jsonl": rows}))


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.txt", "data.csv"])
def test_empty_files(name, tmp_path):
    with pytest.raises(DataError, match=f"{name}.*(empty|nothing in it)"):
        read_data(write(tmp_path, {name: ""}))


def test_an_empty_metadata_file_beside_a_full_one(tmp_path):
    rows = ['{"file_name": "a.jpg", "text": "a dog"}']
    (item,) = read_data(write(tmp_path, {"metadata.jsonl": "", "train/metadata.jsonl": rows}))
    assert item.name == "train/a.jpg"


def test_columns_that_were_seen_are_listed(tmp_path):
    write(
        tmp_path, {"data.csv": ["id,picture,words", "1,a.jpg,x"], "x.json": [{"pic": "a", "w": 1}]}
    )
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    message = str(caught.value)
    assert "data.csv has id, picture, words" in message and "x.json has pic, w" in message


def test_git_lfs_pointers(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    for name in ("metadata.jsonl", "captions.txt", "captions.json", "data.parquet"):
        folder = write(tmp_path / name, {})
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


def test_parquet_rows_with_a_path_alone(tmp_path):
    """From the dataset's folder, as bytes that are not there, or as a column of text."""
    write(tmp_path / "structs", {"photos/a.jpg": PHOTO, "photos/b.jpg": PHOTO})
    found = [
        {"image": {"bytes": None, "path": f"photos/{n}.jpg"}, "text": f"dog {n}"} for n in "ab"
    ]
    datasets.Dataset.from_list(found).to_parquet(tmp_path / "structs" / "train.parquet")
    write(tmp_path / "texts", {"photos/a.jpg": PHOTO, "photos/b.jpg": PHOTO})
    found = [{"file_name": f"photos/{n}.jpg", "text": f"dog {n}"} for n in "ab"]
    datasets.Dataset.from_list(found).to_parquet(tmp_path / "texts" / "train.parquet")
    for name in ("structs", "texts"):
        items = read_data(tmp_path / name, cache=tmp_path / "cache")
        assert sorted(c for i in items for c in i.captions) == ["dog a", "dog b"]
        assert all(item.path.is_file() for item in items)


@pytest.mark.parametrize("there, listed", [("a.JPG", "a.jpg"), ("x/a.jpg", "x\\a.jpg")])
def test_a_missing_photo_is_named_with_what_lies_beside_it(there, listed, tmp_path):
    rows = [json.dumps({"file_name": listed, "text": "a dog", "split": "test"})]
    write(tmp_path, {there: PHOTO, "metadata.jsonl": rows})
    with pytest.raises(DataError, match="missing, though it has captions; did you mean ") as e:
        read_split(tmp_path, "test")
    assert there in str(e.value)


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
    corpus = read_corpus(write(tmp_path, files))
    assert [(item.name, item.captions) for item in corpus.items] == [("b.jpg", ["a dog"])]
    assert [item.name for item in corpus.without_captions] == ["a.jpg"]
