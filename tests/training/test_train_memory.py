"""Training the encoder of remembered captions, and that alone."""

import random

import pytest
import torch

from model import Captioner
from model.memory import Memory, RememberedPhoto
from model.memory.memory import NUM_NEAREST
from tests.support.tiny import tiny_captioner
from training import train_memory
from training.train_memory import Retriever


def test_only_the_memory_encoder_learns(checkpoint, flickr, tmp_path):
    output = tmp_path / "learned"
    arguments = ["--data", str(flickr), "--checkpoint", str(checkpoint), "--output", str(output)]
    arguments += ["--memory-layers", "1", "--epochs", "2", "--batch-size", "4"]
    arguments += ["--cache", str(tmp_path / "cache")]
    assert train_memory.main(arguments) == 0
    before = Captioner.from_pretrained(checkpoint).network.state_dict()
    learned = Captioner.from_pretrained(output).network.state_dict()
    assert all(learned[name].equal(value) for name, value in before.items())
    new = set(learned) - set(before)
    assert new and all(name.startswith("memory_encoder.") for name in new)
    assert learned["memory_encoder.mark"].any()  # it began as zeros


def test_own_captions_never_leak():
    generator = torch.Generator().manual_seed(0)
    entries = tuple(RememberedPhoto(f"{i}.jpg", (f"Caption {i}.",)) for i in range(12))
    features = torch.randn(12, 64, generator=generator).half()
    features[6:] = features[:6]  # a photo that is there twice is the nearest of all
    memory = Memory(entries, features, "any", "any")
    random_numbers = random.Random(0)
    for share_random in (0.0, 0.5):
        retriever = Retriever(memory, share_random)
        for index in range(12):
            for _ in range(20):
                drawn = retriever.choose_entries(index, random_numbers)
                assert drawn and index not in {neighbour.entry for neighbour in drawn}


def test_own_captions_under_another_name_never_leak():
    """The same photos from two corpora, in one of them with other capitals and marks."""
    texts = [f"A dog runs, number {i}." for i in range(9)]
    entries = [RememberedPhoto(f"{i}.jpg", (text, "Odd.")) for i, text in enumerate(texts)]
    copies = [RememberedPhoto(f"other/{i}.jpg", (t.upper()[:-1],)) for i, t in enumerate(texts)]
    features = torch.randn(9, 64, generator=torch.Generator().manual_seed(0)).half()
    memory = Memory((*entries, *copies), features.repeat(2, 1), "any", "any")
    alone = Memory(tuple(entries), features, "any", "any")
    random_numbers = random.Random(0)
    for share_random in (0.0, 0.9):
        retriever = Retriever(memory, share_random)
        for index in range(9):
            for _ in range(20):
                drawn = {n.entry for n in retriever.choose_entries(index, random_numbers)}
                # all of the first nine say "Odd.": what is left are the copies of the others
                assert drawn and drawn <= set(range(9, 18)) - {9 + index}
        assert Retriever(alone, share_random).choose_entries(0, random_numbers) == []


@pytest.mark.parametrize("block", [1, 7, 256])
def test_the_nearest_are_those_of_a_search_one_by_one(monkeypatch, block):
    monkeypatch.setattr(train_memory, "RETRIEVAL_BLOCK", block)
    entries = tuple(RememberedPhoto(f"{i}.jpg", (f"Caption {i // 2}.",)) for i in range(30))
    features = torch.randn(30, 64, generator=torch.Generator().manual_seed(0)).half()
    memory = Memory(entries, features, "any", "any")
    retriever = Retriever(memory, 0)
    for index in range(30):
        pair = {f"{index}.jpg", f"{index ^ 1}.jpg"}
        expected = memory.nearest(features[index : index + 1], 5, leave_out=pair)[0]
        assert [n.entry for n in retriever.nearest[index]] == [n.entry for n in expected]


class Watched(tuple):
    """Entries of which it is counted how many are looked at."""

    num_looks = 0

    def __iter__(self):
        raise AssertionError("all entries were gone through")

    def __getitem__(self, index):
        Watched.num_looks += 1
        return super().__getitem__(index)


def test_choosing_for_a_photo_does_not_go_through_all():
    entries = tuple(RememberedPhoto(f"{i}.jpg", (f"Caption {i}.",)) for i in range(50))
    memory = Memory(entries, torch.randn(50, 8).half(), "any", "any")
    retriever = Retriever(memory, 0.99)
    retriever.memory = Memory(Watched(entries), memory.features, "any", "any")
    for index in range(50):
        assert retriever.choose_entries(index, random.Random(index))
    assert 0 < Watched.num_looks <= 50 * (NUM_NEAREST + 1)


def test_a_caption_that_is_cut_is_not_taught_to_end(checkpoint, flickr, tmp_path, monkeypatch):
    lines = (flickr / "Flickr8k.token.txt").read_text().splitlines()
    long = [line + " very" * 100 for line in lines]
    (flickr / "Flickr8k.token.txt").write_text("\n".join(long) + "\n")
    seen = []

    def compute_loss(network, image_features, remembered, captions):
        seen.extend(tokens for group in captions for tokens in group)
        return train_memory_loss(network, image_features, remembered, captions)

    train_memory_loss = train_memory.compute_loss
    monkeypatch.setattr(train_memory, "compute_loss", compute_loss)
    arguments = ["--data", flickr, "--checkpoint", checkpoint, "--output", tmp_path / "learned"]
    arguments += ["--memory-layers", 1, "--epochs", 1, "--cache", tmp_path / "cache"]
    assert train_memory.main(list(map(str, arguments))) == 0
    network = Captioner.from_pretrained(checkpoint).network
    longest = network.config.max_length + 1
    assert seen and all(len(tokens) == longest for tokens in seen)
    assert not any(network.tokenizer.end in tokens for tokens in seen)


def test_what_may_learn_is_the_memory_encoder():
    captioner = tiny_captioner()
    learner = train_memory.add_memory_encoder(captioner, 2)
    learning = {name for name, p in learner.network.named_parameters() if p.requires_grad}
    assert learning and all(name.startswith("memory_encoder.") for name in learning)
