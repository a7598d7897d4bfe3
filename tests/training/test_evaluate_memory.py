"""`python -m training.evaluate --memory`: scores with and without, in one run."""

import json
from dataclasses import replace

import pytest
import torch

from model.memory import Memory
from model.network.memory_encoder import RememberedCaption
from tests.support.tiny import tiny_captioner, tiny_captioner_with_memory
from training.data import read_data, read_split
from training.evaluate import main
from training.evaluation.captioning import evaluate_network


@pytest.fixture
def paths(flickr, tmp_path):
    captioner = tiny_captioner_with_memory()
    captioner.save_pretrained(tmp_path / "captioner", torch.float32)
    Memory.build(captioner, flickr).save(tmp_path / "memory")
    return flickr, tmp_path / "captioner", tmp_path / "memory"


def test_scores_with_and_without_stand_in_one_table(paths, no_java, tmp_path, capsys):
    data, checkpoint, memory = map(str, paths)
    output = tmp_path / "scores.json"
    command = ["--data", data, "--split", "train", "--checkpoint", checkpoint]
    assert main([*command, "--output", str(output)]) == 0
    plain = json.loads(output.read_text())
    assert "with memory" not in capsys.readouterr().out
    assert main([*command, "--memory", memory, "--output", str(output)]) == 0
    result, table = json.loads(output.read_text()), capsys.readouterr().out.splitlines()
    differing = {name for name in result if result[name] != plain.get(name)}
    assert differing <= {"memory", "with_memory", "seconds"}  # what is there without one stays
    borrowed = result["with_memory"]
    assert (borrowed["num_remembered"], borrowed["num_left_out"]) == (6, 4)
    assert set(borrowed["captions"]) == set(result["captions"])
    assert borrowed["captions"] != result["captions"]
    assert table[1].split() == ["score", "with", "memory", "no", "image"]
    row = next(line.split() for line in table if line.startswith("CIDEr"))
    points = [result, borrowed, result["no_image"]]
    assert row[1:] == [f"{point['CIDEr']:.1f}" for point in points]


def test_no_photo_of_the_split_is_looked_at(paths, no_java, monkeypatch):
    data, _, folder = paths
    captioner, seen = tiny_captioner_with_memory(), []
    remember = type(captioner.network).remember

    def spy(network, photo, remembered: list[RememberedCaption]):
        seen.extend(caption.photo for caption in remembered)
        return remember(network, photo, remembered)

    monkeypatch.setattr(type(captioner.network), "remember", spy)
    evaluate_network(captioner.network, read_split(data, "dev"), Memory.load(folder))
    assert {item.name for item in read_data(data)} - set(seen) == {"4.jpg", "5.jpg"}


def test_no_photo_with_a_caption_of_it_is_looked_at(paths, no_java, monkeypatch):
    """As the same photo under another name, from another corpus, would be."""
    data, _, _ = paths
    captioner, seen = tiny_captioner_with_memory(), {}
    dev = read_split(data, "dev")
    copies = [replace(item, name=f"copy of {item.name}") for item in dev]
    copies[0] = replace(copies[0], captions=[dev[0].captions[0].upper().strip(" .")])
    others = [item for item in read_data(data) if item.split == "train"]
    memory = Memory.build(captioner, [*copies, *others])
    remember = type(captioner.network).remember

    def spy(network, photo, remembered: list[RememberedCaption]):
        seen[len(seen)] = {caption.photo for caption in remembered}
        return remember(network, photo, remembered)

    monkeypatch.setattr(type(captioner.network), "remember", spy)
    evaluate_network(captioner.network, dev, memory)
    assert len(seen) == len(dev)
    for item, photos in zip(dev, seen.values(), strict=True):
        assert photos and f"copy of {item.name}" not in photos


def test_a_captioner_that_has_not_learned_it_says_so_at_once(paths, tmp_path, capsys):
    data, _, memory = paths
    tiny_captioner().save_pretrained(tmp_path / "plain", torch.float32)
    arguments = ["--data", data, "--checkpoint", tmp_path / "plain", "--memory", memory]
    assert main([str(a) for a in arguments]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "has not learned to look at a memory" in err
