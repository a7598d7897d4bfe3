"""`python -m model remember`, and captions and maps with what it wrote."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from model.memory import Memory
from tests.support.tiny import SENTENCES, tiny_captioner_with_memory


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("with-memory")
    tiny_captioner_with_memory().save_pretrained(folder, torch.float32)
    return str(folder)


@pytest.fixture
def captioned(photos):
    """The three photos of the folder with a caption each, and a fourth that is no photo."""
    for path, text in zip(("a.jpg", "c.png", "more/d.webp"), SENTENCES, strict=True):
        (photos / path).with_suffix(".txt").write_text(text)
    (photos / "b.txt").write_text("Not a photo.")
    return photos


@pytest.fixture
def memory(run, captioned, checkpoint, tmp_path):
    (captioned / "b.jpg").unlink()
    (captioned / "b.txt").unlink()
    folder = tmp_path / "memory"
    assert run("remember", captioned, "--checkpoint", checkpoint, "--output", folder)[0] == 0
    return folder


def test_what_cannot_be_read_is_reported_and_the_rest_remembered(
    run, captioned, checkpoint, tmp_path
):
    output = tmp_path / "memory"
    command = ["remember", captioned, "--checkpoint", checkpoint, "--output", output]
    status, out, err = run(*command)
    assert (status, out) == (1, f"3 photos remembered, 3 in {output}\n")
    assert err.count("\n") == 1 and "b.jpg" in err
    memory = Memory.load(output)
    assert {e.name: e.captions[0] for e in memory.entries} == dict(
        zip(("a.jpg", "c.png", "more/d.webp"), SENTENCES, strict=True)
    )
    status, _, err = run(*command)
    assert status == 1 and "holds a memory; add to it with --add" in err
    assert Memory.load(output).entries == memory.entries


def test_a_memory_is_added_to(run, memory, captioned, checkpoint, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    (captioned / "a.jpg").rename(more / "new.jpg")
    (more / "new.txt").write_text("A new one.")
    command = ["remember", more, "--checkpoint", checkpoint, "--add", "--output"]
    status, out, _ = run(*command, memory)
    assert (status, out) == (0, f"1 photos remembered, 4 in {memory}\n")
    assert dict(Memory.load(memory).entries)["new.jpg"] == ("A new one.",)
    status, _, err = run(*command, tmp_path / "elsewhere")
    assert status == 1 and "elsewhere: no memory in it" in err


def test_a_split_alone(run, flickr, checkpoint, tmp_path):
    command = ["remember", flickr, "--checkpoint", checkpoint, "--output"]
    assert run(*command, tmp_path / "dev", "--split", "dev")[0] == 0
    assert [e.name for e in Memory.load(tmp_path / "dev").entries] == ["4.jpg", "5.jpg"]
    status, _, err = run(*command, tmp_path / "test", "--split", "test")
    assert status == 1 and not (tmp_path / "test").exists()
    assert err == (
        f"error: {flickr}: no captioned photos in the test split (train has 4, dev has 2), nothing "
        "saved; choose another --split\n"
    )


def test_captions_say_what_they_could_borrow_from(run, photos, memory, checkpoint):
    command = ["caption", photos, "--checkpoint", checkpoint, "--format", "jsonl"]
    plain = [json.loads(line) for line in run(*command)[1].splitlines()]
    for size in (1, 8):  # as many remembered tokens as each has, in one batch
        status, out, err = run(*command, "--memory", memory, "--batch-size", size)
        rows = [json.loads(line) for line in out.splitlines()]
        assert (status, err, len(rows)) == (0, "", 3)
        for row, without in zip(rows, plain, strict=True):
            assert set(row) - set(without) == {"memory", "remembered"}
            assert row["memory"] == str(memory)
            assert {r["caption"] for r in row["remembered"]} == set(SENTENCES)
            assert row["image"].endswith(row["remembered"][0]["photo"])  # itself is nearest
    assert [r["log_probability"] for r in rows] != [r["log_probability"] for r in plain]


def test_csv_with_a_memory_has_a_column_more(run, photos, memory, checkpoint, tmp_path):
    output = tmp_path / "captions.csv"
    command = ["caption", photos, "--checkpoint", checkpoint, "--output", output]
    assert run(*command, "--memory", memory)[0] == 0
    with output.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "caption", "log_probability", "error", "remembered"]
    assert {r["caption"] for r in json.loads(rows[0]["remembered"])} == set(SENTENCES)
    before = output.read_bytes()
    assert run(*command, "--memory", memory, "--resume")[0] == 0
    status, _, err = run(*command, "--resume")
    assert status == 1 and "begun with a memory; go on in the same way" in err
    assert output.read_bytes() == before
    assert run(*command)[0] == 0
    status, _, err = run(*command, "--memory", memory, "--resume")
    assert status == 1 and "begun without a memory" in err


def test_resume_says_what_wrote_the_earlier_lines(
    run, photos, memory, checkpoint, tmp_path, monkeypatch
):
    """Another memory, or none, or another checkpoint: one line, and the file stays as it is."""
    output, other = tmp_path / "captions.jsonl", tmp_path / "other"
    shutil.copytree(memory, tmp_path / "copy")
    tiny_captioner_with_memory().save_pretrained(other, torch.float32)
    command = ["caption", photos, "--output", output, "--resume", "--checkpoint"]
    with_memory = [*command, checkpoint, "--memory", memory]
    for begin, go_on, writer in (
        (with_memory, [*command, checkpoint], f"{checkpoint} with the memory {memory}"),
        (with_memory, [*with_memory[:-1], tmp_path / "copy"], f"with the memory {memory}"),
        ([*command, checkpoint], with_memory, f"{checkpoint} without a memory"),
        ([*command, checkpoint], [*command, other], checkpoint),
    ):
        output.unlink(missing_ok=True)
        assert run(*begin) == (0, "", "")
        before = output.read_bytes()
        status, _, err = run(*go_on)
        assert status == 1 and err.count("\n") == 1
        assert err.startswith(f"error: {output}: has captions by {checkpoint}")
        assert err.endswith(f"{writer}; give another --output\n")
        assert output.read_bytes() == before
    output.unlink()
    assert run(*with_memory) == (0, "", "")
    monkeypatch.chdir(tmp_path)  # the same memory by another path
    assert run(*with_memory[:-1], f"{memory.name}/") == (0, "", "")


@pytest.mark.parametrize("command", ["caption", "explain"])
def test_memories_that_do_not_fit_are_one_line(run, photos, memory, command, tmp_path):
    arguments = [command, photos / "a.jpg", "--output", tmp_path / "x.json"]
    status, _, err = run(*arguments, "--memory", tmp_path)
    assert status == 1 and err == f"error: {tmp_path}: no memory in it; python -m model " + (
        "remember writes one\n"
    )
    other = tmp_path / "other"
    tiny_captioner_with_memory(seed=5).save_pretrained(other)
    status, _, err = run(*arguments, "--memory", memory, "--checkpoint", other)
    assert status == 1 and err.count("\n") == 1 and "was made with the image encoder of" in err


def test_explanations_with_a_memory(run, photos, memory, checkpoint, tmp_path):
    command = ["explain", photos / "a.jpg", "--text", "a dog, here", "--checkpoint", checkpoint]
    command += ["--memory", memory, "--output"]
    status, out, _ = run(*command, tmp_path / "x.json")
    record = json.loads((tmp_path / "x.json").read_text())
    assert status == 0 and f"a.jpg: {SENTENCES[0]}" in out
    assert record["memory"] == str(memory)
    assert [r["photo"] for r in record["remembered"]][0] == "a.jpg"
    assert record["remembered"][0]["words"] == SENTENCES[0].split()
    for word in record["words"]:
        weights = [w for row in word["memory_weights"] for w in row]
        assert list(map(len, word["memory_weights"])) == [
            len(r["words"]) for r in record["remembered"]
        ]
        assert 0 < word["memory_share"] < 1
        assert sum(weights) == pytest.approx(word["memory_share"], abs=1e-5)
        assert word["memory_share"] + word["image_share"] <= 1 + 1e-5
        assert f"{word['text']} {word['memory_share']:.0%}" in out

    assert run(*command, tmp_path / "x.npz")[0] == 0
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert arrays["weights"].shape[3] == 17 + arrays["remembered_lengths"].sum()
        np.testing.assert_allclose(arrays["weights"].sum(-1), 1, atol=1e-5)
        assert set(arrays["remembered"]) == set(SENTENCES)
        shares = [word["memory_share"] for word in record["words"]]
        np.testing.assert_allclose(arrays["memory_shares"], shares, atol=1e-5)
    assert run(*command, tmp_path / "x.png")[0] == 0
