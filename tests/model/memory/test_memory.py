"""The memory by itself: what is remembered, found, kept in files, and refused."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.corpora import CaptionedImage, read_data
from model.errors import DataError, ImageError, OptionError
from model.memory import Memory, RememberedPhoto
from model.memory.memory import choose_agreeing, fingerprint_encoder, pool_photos
from tests.support.tiny import draw_photo, tiny_captioner

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


@pytest.fixture
def photos(tmp_path):
    """Three photos whose captions name their colour."""
    items = []
    for colour, value in COLOURS.items():
        path = tmp_path / f"{colour}.png"
        draw_photo(40, 40, value).save(path)
        items.append(CaptionedImage(path.name, path, [f"It is {colour}.", f"All is {colour}."]))
    return items


def pool(captioner, *paths):
    return pool_photos(captioner.network.encode(paths), captioner.network.encoder.num_prefix_tokens)


def test_a_remembered_photo_is_nearest_to_itself(captioner, photos):
    memory = Memory.build(captioner, photos)
    found = memory.nearest(pool(captioner, *(photo.path for photo in photos)), k=2)
    assert [near[0].entry for near in found] == [0, 1, 2]
    assert all(near[0].similarity == pytest.approx(1, abs=1e-3) for near in found)
    assert all(near[0].similarity > near[1].similarity for near in found)


def test_similarity_is_the_cosine_without_the_mean(captioner):
    features = torch.randn(6, 64, generator=torch.Generator().manual_seed(0)).half()
    entries = tuple(RememberedPhoto(str(i), ("A dog.",)) for i in range(6))
    memory = Memory(entries, features, "x", "y")
    query = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    centred = features.float() - features.float().mean(dim=0)
    expected = torch.cosine_similarity(query - features.float().mean(dim=0), centred)
    found = memory.nearest(query, 6)[0]
    assert [near.entry for near in found] == expected.argsort(descending=True).tolist()
    assert found[0].similarity == pytest.approx(expected.max().item(), abs=1e-5)


def test_k_larger_than_the_memory_finds_all(captioner, photos):
    memory = Memory.build(captioner, photos)
    assert len(memory.nearest(pool(captioner, photos[0].path), k=10)[0]) == 3
    with pytest.raises(OptionError, match="k must be at least 1"):
        memory.nearest(pool(captioner, photos[0].path), k=0)


def test_a_folder_of_captioned_photos_is_remembered_whole(captioner, photos, tmp_path):
    for photo in photos:
        photo.path.with_suffix(".txt").write_text("\n".join(photo.captions))
    memory = Memory.build(captioner, tmp_path)
    assert memory.entries == Memory.build(captioner, read_data(tmp_path)).entries
    assert dict(memory.entries)["red.png"] == ("It is red.", "All is red.")
    assert len(memory.add(captioner, str(tmp_path))) == 3
    with pytest.raises(DataError, match="found neither"):
        Memory.build(captioner, tmp_path / "elsewhere")


def test_a_photo_that_cannot_be_read_is_reported_and_left_out(captioner, photos, tmp_path):
    broken = CaptionedImage("broken.png", tmp_path / "broken.png", ["Nobody knows."])
    broken.path.write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"broken\.png"):
        Memory.build(captioner, [broken, *photos])
    errors = []
    memory = Memory.build(captioner, [broken, *photos], on_error=errors.append)
    assert [str(broken.path) in str(error) for error in errors] == [True]
    assert [entry.name for entry in memory.entries] == [photo.name for photo in photos]


def test_what_on_step_raises_ends_the_work(captioner, photos):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Memory.build(captioner, photos, on_step=stop)


def test_names_that_are_left_out_are_never_found(captioner, photos):
    memory = Memory.build(captioner, photos)
    found = memory.nearest(pool(captioner, photos[1].path), 5, leave_out={"green.png"})[0]
    assert {memory.entries[near.entry].name for near in found} == {"red.png", "blue.png"}


def test_an_empty_memory_finds_nothing(captioner, photos, tmp_path):
    Memory.build(captioner, []).save(tmp_path / "empty")
    memory = Memory.load(tmp_path / "empty")
    assert len(memory) == 0
    assert memory.nearest(pool(captioner, photos[0].path)) == [[]]


def test_adding_is_as_building_it_all_at_once(captioner, photos):
    first = Memory.build(captioner, photos[:1])
    added, whole = first.add(captioner, photos[1:]), Memory.build(captioner, photos)
    assert len(first) == 1  # a value
    assert added.entries == whole.entries
    torch.testing.assert_close(added.features, whole.features, atol=2e-3, rtol=1e-3)


def test_a_photo_of_the_same_name_takes_the_place_of_the_earlier(captioner, photos):
    changed = CaptionedImage("red.png", photos[2].path, ["Not red."])
    memory = Memory.build(captioner, photos).add(captioner, [changed])
    assert {entry.name: entry.captions for entry in memory.entries}["red.png"] == ("Not red.",)
    assert len(memory) == 3


def test_adding_encodes_the_new_photos_alone(captioner, photos, monkeypatch):
    memory = Memory.build(captioner, photos[:2])
    encoded = []
    encode = type(captioner.network).encode
    monkeypatch.setattr(
        type(captioner.network),
        "encode",
        lambda network, images: encoded.append(len(images)) or encode(network, images),
    )
    assert len(memory.add(captioner, photos[1:])) == 3
    assert encoded == [2]


def test_memories_are_joined(captioner, photos):
    changed = CaptionedImage("red.png", photos[2].path, ["Not red."])
    parts = [Memory.build(captioner, part) for part in (photos[:1], photos[1:], [], [changed])]
    joined = parts[0].join(*parts[1:])
    assert [entry.name for entry in joined.entries] == ["green.png", "blue.png", "red.png"]
    assert joined.entries[2].captions == ("Not red.",)
    assert joined.features.equal(torch.cat([parts[1].features, parts[3].features]))
    assert parts[0].join().entries == parts[0].entries
    with pytest.raises(OptionError, match="made with the image encoders of 'untitled' and of"):
        parts[0].join(Memory.build(tiny_captioner(seed=5), photos))


def test_two_photos_of_one_name_are_named(captioner, photos):
    twice = [*photos, CaptionedImage("red.png", photos[2].path, ["Another red."])]
    with pytest.raises(DataError, match=r"red\.png: two photos of this name; rename one"):
        Memory.build(captioner, twice)


def test_a_photo_in_two_splits_keeps_all_its_captions(captioner, photos, tmp_path):
    rows = [("train", "It is red."), ("test", "All is red.")]
    table = [{"image": "red.png", "caption": text, "split": split} for split, text in rows]
    (tmp_path / "all.json").write_text(json.dumps(table))
    (entry,) = Memory.build(captioner, tmp_path).entries
    assert entry.name == "red.png" and set(entry.captions) == {"It is red.", "All is red."}


def test_entries_with_a_caption_are_found_whatever_its_capitals_and_marks(captioner, photos):
    memory = Memory.build(captioner, photos)
    assert memory.find_same_captions(["it is RED", "Nothing."]) == {"red.png"}
    assert memory.find_same_captions(["It is", "..."]) == set()


def test_a_photo_without_captions_is_named(captioner, photos):
    with pytest.raises(DataError, match=r"mute\.png: no captions"):
        Memory.build(captioner, [CaptionedImage("mute.png", photos[0].path, [" "])])


def test_saved_and_loaded_with_odd_characters(captioner, photos, tmp_path):
    odd = ['Ein Hündchen 🐶\u2028 "quoted" \\n', "null \0 byte", "lone \ud800 surrogate"]
    photos.append(CaptionedImage("odd \udcff.png", photos[0].path, odd))
    memory = Memory.build(captioner, photos)
    memory.save(tmp_path / "mine")
    loaded = Memory.load(tmp_path / "mine")
    assert loaded.entries == memory.entries
    assert loaded.features.equal(memory.features)
    assert (loaded.captioner, loaded.encoder) == (memory.captioner, memory.encoder)


def test_another_captioners_memory_is_refused_by_name(captioner, photos):
    memory = Memory.build(captioner, photos)
    other = tiny_captioner(seed=5)
    other.name = "the other"
    for use in (lambda: memory.add(other, photos), lambda: other.encode([photos[0].path], memory)):
        with pytest.raises(OptionError, match="made with the image encoder of 'untitled'.*'the o"):
            use()


def test_a_saved_captioner_may_use_the_memory_of_the_one_it_was(captioner, tmp_path):
    captioner.save_pretrained(tmp_path)  # in half precision
    loaded = type(captioner).from_pretrained(tmp_path)
    assert fingerprint_encoder(loaded.network) == fingerprint_encoder(captioner.network)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def lose_a_photo(path: Path) -> None:
    about = json.loads(path.read_text())
    about["photos"].pop()
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("memory.json", cut, "not valid JSON"),
        ("memory.json", Path.unlink, "no memory in it"),
        ("memory.json", lambda path: path.write_text('{"format": "x"}'), "not a memory"),
        ("memory.json", lambda path: path.write_text("[" * 100_000), "not valid JSON"),
        (
            "memory.json",
            lambda path: path.write_text('{"format": "captionlens-memory", "photos": [1]}'),
            "not a whole memory",
        ),
        ("memory.json", lose_a_photo, r"features \[3, 64\] of 2 photos"),
        ("features.safetensors", cut, "not a whole safetensors file"),
        ("features.safetensors", Path.unlink, "cannot be read"),
        ("features.safetensors", lambda p: p.write_bytes(b"\xff" * 99), "not features of a memory"),
    ],
)
def test_damaged_files_are_one_clear_line(captioner, photos, tmp_path, name, damage, message):
    folder = tmp_path / "mine"
    Memory.build(captioner, photos).save(folder)
    damage(folder / name)
    with pytest.raises(DataError, match=message) as caught:
        Memory.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_two_memories_are_never_taken_for_one(captioner, photos, tmp_path):
    """As many photos of the same width in both: nothing but the digest tells them apart."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder, listed in zip(folders, (photos[:2], photos[1:]), strict=True):
        Memory.build(captioner, listed).save(folder)
    shutil.copy(folders[0] / "features.safetensors", folders[1])
    with pytest.raises(DataError, match=r"second/features.* not the features that memory\.json"):
        Memory.load(folders[1])


def test_a_memory_saved_without_a_digest_is_read(captioner, photos, tmp_path):
    memory = Memory.build(captioner, photos)
    memory.save(tmp_path)
    about = json.loads((tmp_path / "memory.json").read_text())
    del about["features_sha256"]
    (tmp_path / "memory.json").write_text(json.dumps(about))
    assert Memory.load(tmp_path).entries == memory.entries


@pytest.mark.parametrize("num_steps", range(4))
def test_a_save_that_is_cut_leaves_the_old_memory_or_none(
    captioner, photos, tmp_path, monkeypatch, num_steps
):
    """Cut before each step of the file system that changes what is there, and after the last."""
    first, second = Memory.build(captioner, photos[:2]), Memory.build(captioner, photos[1:])
    first.save(tmp_path)
    steps = iter(range(num_steps))

    def cut_off(function):
        def run(path, *more, **options):
            if Path(path).parent.name.startswith(".unfinished") or Path(path).parent == tmp_path:
                next(steps)  # the last raises StopIteration, as an interruption would
            return function(path, *more, **options)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut_off(os.replace))
        patch.setattr(Path, "unlink", cut_off(Path.unlink))
        with contextlib.suppress(StopIteration):
            second.save(tmp_path)
    if num_steps in (0, 3):
        expected = second if num_steps else first
        assert Memory.load(tmp_path).entries == expected.entries
        assert Memory.load(tmp_path).features.equal(expected.features)
    else:
        with pytest.raises(DataError, match="no memory in it"):
            Memory.load(tmp_path)
    second.save(tmp_path)
    assert Memory.load(tmp_path).entries == second.entries


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float8_e4m3fn])
def test_features_of_other_types_are_one_line(captioner, photos, tmp_path, dtype):
    Memory.build(captioner, photos).save(tmp_path)
    save_file({"features": torch.ones(3, 64).to(dtype)}, tmp_path / "features.safetensors")
    with pytest.raises(DataError, match="not features of a memory"):
        Memory.load(tmp_path)


def test_the_caption_that_agrees_best_whatever_the_order():
    entries = [
        RememberedPhoto("a", ("Zebras graze.", "a dog runs")),
        RememberedPhoto("b", ("a dog sleeps", "Nothing here.")),
        RememberedPhoto("c", ("a dog runs", "Two cats.")),
    ]
    assert choose_agreeing(entries) == ["a dog runs", "a dog sleeps", "a dog runs"]
    assert choose_agreeing(entries[::-1]) == choose_agreeing(entries)[::-1]
