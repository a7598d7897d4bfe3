"""Datasets as people have them."""

import pytest

from tests.support.flickr import NAMES
from tests.support.tiny import draw_photo
from training.data import DataError, read_split


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
