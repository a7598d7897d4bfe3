"""Datasets as people have them, and the batches made of them."""

import numpy as np
import pytest
import torch

from tests.tiny import draw_photo, tiny_captioner
from training.augmentation import Augmentation
from training.data import (
    IGNORED,
    CaptionDataset,
    DataError,
    cache_features,
    collate,
    encode_caption,
    read_split,
)

NAMES = [f"{i}.jpg" for i in range(6)]
COLOURS = [(i * 50, 255 - i * 50, 90) for i in range(6)]


@pytest.fixture
def flickr(tmp_path):
    """The corpus's own layout: four train photos and two dev photos, two captions each."""
    (tmp_path / "images").mkdir()
    for name, colour in zip(NAMES, COLOURS, strict=True):
        draw_photo(60, 60, colour).save(tmp_path / "images" / name)
    lines = [f"{n}#{k}\ta dog number {n[0]} runs left {k} ." for n in NAMES for k in (0, 1)]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[:4]) + "\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("\n".join(NAMES[4:]))
    return tmp_path


def test_the_corpus_layout(flickr):
    train, dev = read_split(flickr, "train"), read_split(flickr, "dev")
    assert [i.path.name for i in train] == NAMES[:4] and [i.path.name for i in dev] == NAMES[4:]
    assert train[1].captions == ["a dog number 1 runs left 0 .", "a dog number 1 runs left 1 ."]
    with pytest.raises(DataError, match="testImages.txt: missing, so there is no test split"):
        read_split(flickr, "test")


def test_kaggles_layout(tmp_path):
    (tmp_path / "Images").mkdir()
    names = [f"photo{i}.jpg" for i in range(60)]
    rows = ["image,caption"]
    for name in names:
        draw_photo(8, 8).save(tmp_path / "Images" / name)
        rows.append(f'{name},"a dog, {name[5]} , runs ."')
    (tmp_path / "captions.txt").write_text("\n".join(rows))
    splits = {s: {i.path.name for i in read_split(tmp_path, s)} for s in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) == 60 and set().union(*splits.values()) == set(names)
    assert len(splits["train"]) > 35 and splits["dev"] and splits["test"]
    (first,) = (i for i in read_split(tmp_path, "train") if i.path.name == min(splits["train"]))
    assert first.captions == [f"a dog, {first.path.name[5]} , runs ."]
    # another image moves none of the others
    draw_photo(8, 8).save(tmp_path / "Images" / "new.jpg")
    (tmp_path / "captions.txt").write_text("\n".join([*rows, "new.jpg,new"]))
    for split, before in splits.items():
        assert {i.path.name for i in read_split(tmp_path, split)} - {"new.jpg"} == before


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda d: (d / "Flickr8k.token.txt").unlink(), "found neither Flickr8k.token.txt nor"),
        (lambda d: (d / "Flickr8k.token.txt").write_text("no tab"), "line 1: no tab"),
        (lambda d: (d / "Flickr_8k.trainImages.txt").write_text(""), "train split has no images"),
        (lambda d: (d / "images" / "2.jpg").unlink(), "2.jpg: missing, though it has captions"),
        (
            lambda d: (d / "Flickr_8k.trainImages.txt").write_text("stranger.jpg"),
            "stranger.jpg: in the train split but without captions",
        ),
    ],
)
def test_a_dataset_that_cannot_be_used(flickr, spoil, message):
    spoil(flickr)
    with pytest.raises(DataError, match=message) as caught:
        read_split(flickr, "train")
    assert "\n" not in str(caught.value)


def test_names_as_people_have_them(flickr):
    """Spaces, equal names in two folders, a byte order mark, blank captions."""
    images = ("my photo.jpg", "a/1.jpg", "b/1.jpg")
    for name in images:
        (flickr / "images" / name).parent.mkdir(exist_ok=True)
        draw_photo(8, 8).save(flickr / "images" / name)
    lines = [f"{name}#{k}\t{said}" for name in images for k, said in enumerate(("a dog", " "))]
    (flickr / "Flickr8k.token.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    (flickr / "Flickr_8k.trainImages.txt").write_text("\n".join(images), encoding="utf-8-sig")
    items = read_split(flickr, "train")
    assert [item.name for item in items] == sorted(images)
    assert all(item.path.is_file() and item.captions == ["a dog"] for item in items)


def test_labels_are_the_next_tokens_and_the_end_is_learned(flickr):
    captioner = tiny_captioner()
    tokenizer = captioner.tokenizer
    short, long = (encode_caption(c, tokenizer, 40) for c in ("a dog.", "A brown dog runs far."))
    images = [
        {"pixel_values": torch.zeros(3, 4, 4), "captions": [short, long]},
        {"pixel_values": torch.ones(3, 4, 4), "captions": [long]},
    ]
    batch = collate(images)
    assert batch["tokens"].shape == batch["labels"].shape == (2, 2, len(long) - 1)
    for row, caption in (((0, 0), short), ((0, 1), long), ((1, 0), long)):
        length = len(caption) - 1
        assert batch["tokens"][row][0] == tokenizer.start
        assert batch["tokens"][row][:length].tolist() == caption[:-1]
        assert batch["labels"][row][:length].tolist() == caption[1:]
        assert batch["labels"][row][length - 1] == tokenizer.end
        assert (batch["labels"][row][length:] == IGNORED).all()
    assert (batch["labels"][1, 1] == IGNORED).all()  # the second image has but one caption


def test_a_caption_too_long_is_cut_without_an_end():
    tokenizer = tiny_captioner().tokenizer
    cut = encode_caption("dog " * 50, tokenizer, 10)
    assert len(cut) == 11 and tokenizer.end not in cut


def test_cached_features_are_the_encoders(flickr, tmp_path):
    captioner = tiny_captioner().train()  # as a new one may be
    captioner.encoder.patch_dropout = 0.5  # which is for learning, not for features
    items = read_split(flickr, "train")
    cache = tmp_path / "cache"
    features = cache_features(captioner, items, cache, mirror=True, bf16=False, batch_size=3)
    assert features.shape == (2, 4, 17, 32) and features.dtype == np.float16
    plain = CaptionDataset(items, captioner)
    cached = CaptionDataset(items, captioner, features=features)
    for i in range(4):
        with torch.inference_mode():
            expected = captioner.encoder(plain[i]["pixel_values"][None])[0]
        torch.testing.assert_close(cached[i]["image_features"], expected, atol=0.01, rtol=0.01)
        assert cached[i]["captions"] == plain[i]["captions"]
    # the same encoder and photos are found again; another encoder's are not mistaken for them
    written = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    cache_features(captioner, items, cache, mirror=True, bf16=False)
    assert {p: p.stat().st_mtime_ns for p in cache.iterdir()} == written
    cache_features(tiny_captioner(seed=1), items, cache, mirror=True, bf16=False)
    assert len(list(cache.iterdir())) == 2


def test_mirror_shows_both_sides_with_the_words_that_fit(flickr):
    captioner = tiny_captioner()
    dataset = CaptionDataset(read_split(flickr, "train"), captioner, Augmentation(mirror=True))
    seen = {}
    for epoch in range(20):
        dataset.set_epoch(epoch)
        example = dataset[0]
        text = captioner.tokenizer.tokenizer.decode(example["captions"][0][1:-1])
        seen["left" if "left" in text else "right"] = example["pixel_values"]
    torch.testing.assert_close(seen["left"].flip(-1), seen["right"])
