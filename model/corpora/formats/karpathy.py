"""Karpathy's splits of Flickr8k, Flickr30k and COCO."""

from collections.abc import Iterator
from pathlib import Path

from model.corpora.photos import ListedPhoto, count_photos, find_photo_folder
from model.corpora.text import read_json, report_wrong_shape
from model.corpora.values import read_captions, read_name
from model.errors import DataError

LOOKS_FOR = "dataset_*.json"
HUB_FILES = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json"}


def find_files(folder: Path) -> list[Path]:
    files = [*folder.glob("dataset_*.json"), *folder.glob("dataset.json")]
    return sorted(file for file in files if file.name not in HUB_FILES)


def read(folder: Path) -> Iterator[ListedPhoto]:
    """Karpathy's `dataset_*.json`: photos with their split and sentences, maybe a `filepath`."""
    files = find_files(folder)
    if len(files) > 1:
        raise DataError(f"{folder}: {', '.join(f.name for f in files)}; keep one of them")
    content = read_json(files[0])
    with report_wrong_shape(files[0], "one of Karpathy's files"):
        images = content["images"]
        names = [read_name(image["filename"]) for image in images]
        names_with_folder = [f"{i.get('filepath') or '.'}/{i['filename']}" for i in images]
        sentences = [
            [s.get("raw") or " ".join(s["tokens"]) for s in image["sentences"]] for image in images
        ]
        splits = [image.get("split") for image in images]
    names = max(
        (names_with_folder, names), key=lambda n: count_photos(find_photo_folder(folder, n), n)
    )
    photos = find_photo_folder(folder, names)
    for name, texts, split in zip(names, sentences, splits, strict=True):
        captions = read_captions(texts, f"{files[0]}, {name}")
        yield ListedPhoto(Path(name).as_posix(), photos / name, captions, split)
