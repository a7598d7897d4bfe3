"""Training the encoder of remembered captions, and that alone."""

import random

import torch

from model import Captioner
from model.memory import Memory, RememberedPhoto
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


def test_what_may_learn_is_the_memory_encoder():
    captioner = tiny_captioner()
    learner = train_memory.add_memory_encoder(captioner, 2)
    learning = {name for name, p in learner.network.named_parameters() if p.requires_grad}
    assert learning and all(name.startswith("memory_encoder.") for name in learning)
