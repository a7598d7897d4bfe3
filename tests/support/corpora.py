"""Captioned photos in the layouts that people have them in."""

import json
from pathlib import Path

from tests.support.tiny import draw_photo
from training.data import CaptionedImage


def write_files(folder: Path, files: dict[str, object]) -> Path:
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


def list_captions(items: list[CaptionedImage]) -> dict[str, tuple[str, list[str]]]:
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


def describe_photo(split: str, name: str, *captions: str, **more: str) -> dict:
    sentences = [{"raw": said, "tokens": said.split()} for said in captions]
    return {"filename": name, "split": split, "sentences": sentences, **more}


def list_many(tmp_path, split: str | None, count: int = 60) -> dict[str, object]:
    place = f"{split}/" if split else ""
    lines = [
        json.dumps({"file_name": f"{number}.jpg", "text": f"dog {number}"})
        for number in range(count)
    ]
    return {f"{place}metadata.jsonl": lines}


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
                describe_photo("restval", "a.jpg", "a dog", "the dog", filepath="val2014"),
                describe_photo("val", "b.jpg", "cat", filepath="val2014"),
            ]
        },
        "val2014/a.jpg": PHOTO,
        "val2014/b.jpg": PHOTO,
    },
    "karpathy 8k": {
        "dataset_flickr8k.json": {
            "images": [
                describe_photo("train", "a.jpg", "a dog", "the dog"),
                describe_photo("val", "b.jpg", "cat"),
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
