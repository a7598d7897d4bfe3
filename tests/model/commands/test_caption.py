"""`python -m model caption`: text, JSON lines and CSV, and a run that goes on where it ended."""

import csv
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from model.images import load_image
from tests.support.tiny import draw_photo


def test_caption_text(run, photos, checkpoint):
    status, out, err = run("caption", photos / "a.jpg", "--checkpoint", checkpoint)
    assert (status, err) == (0, "")
    path, caption = out.strip().split(": ", 1)
    assert path == str(photos / "a.jpg") and caption


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_caption_jsonl_and_one_bad_file(run, photos, checkpoint, batch_size):
    status, out, err = run(
        "caption",
        photos,
        "--checkpoint",
        checkpoint,
        "--format",
        "jsonl",
        "--batch-size",
        batch_size,
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert [r["image"] for r in rows] == [
        str(photos / name) for name in ("a.jpg", "b.jpg", "c.png", "more/d.webp")
    ]
    assert status == 1
    assert set(rows[1]) == {"image", "error"}
    assert err == f"error: {rows[1]['error']}\n" and "b.jpg" in err
    for row in (rows[0], rows[2], rows[3]):
        assert set(row) == {"image", "caption", "log_probability", "words", "checkpoint"}
        assert row["caption"] == " ".join(w["text"] for w in row["words"])
        assert row["checkpoint"] == checkpoint
        # the end token's probability is in the total but belongs to no word
        assert row["log_probability"] <= sum(np.log(w["probability"]) for w in row["words"]) + 1e-6


def test_caption_csv_file_and_several_captions(run, photos, checkpoint, tmp_path):
    output = tmp_path / "out.csv"
    status, out, err = run(
        "caption",
        photos / "c.png",
        photos / "a.jpg",
        tmp_path / "nowhere.jpg",
        "--checkpoint",
        checkpoint,
        "--format",
        "csv",
        "--num-captions",
        2,
        "--num-beams",
        3,
        "--output",
        output,
    )
    assert (status, out) == (1, "")
    assert err.count("\n") == 1 and "nowhere.jpg" in err
    rows = list(csv.DictReader(io.StringIO(output.read_text(encoding="utf-8-sig"))))
    assert [row["image"] for row in rows] == [str(photos / "c.png")] * 2 + [
        str(photos / "a.jpg")
    ] * 2 + [str(tmp_path / "nowhere.jpg")]
    assert rows[0]["caption"] != rows[1]["caption"] and rows[4]["error"]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_resume_does_only_the_rest(run, photos, checkpoint, tmp_path, form, monkeypatch):
    """After an interruption in the middle of a line; what failed is tried again."""
    command = ["caption", photos, "--checkpoint", checkpoint, "--format", form, "--batch-size", 1]
    whole, output = tmp_path / "whole", tmp_path / "captions"
    assert run(*command, "--output", whole)[0] == 1  # b.jpg is no photo
    lines = whole.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "c.png" in line)
    output.write_text("".join(lines[:place]) + lines[place][:20])
    (photos / "b.jpg").write_bytes((photos / "a.jpg").read_bytes())
    loaded = []
    monkeypatch.setattr(
        "model.commands.inputs.load_image",
        lambda path: loaded.append(path.name) or load_image(path),
    )
    assert run(*command, "--output", output, "--resume")[0] == 0
    assert loaded == ["b.jpg", "c.png", "d.webp"]
    found = output.read_text().splitlines(keepends=True)
    assert found[:place] == lines[:place] and found[place + 1 :] == lines[place:]
    assert "b.jpg" in found[place] and "not an image" not in found[place]
    assert run(*command, "--output", output, "--resume")[0] == 0 and len(loaded) == 3
    assert run(*command, "--output", tmp_path / "new", "--resume")[0] == 0  # nothing there yet
    loaded.clear()  # one caption is not two
    assert run(*command, "--output", output, "--resume", "--num-captions", 2)[0] == 0
    assert len(loaded) == 4
    for other in ("a, b\n", "notes without an end", "{}\n", "[1]\n{", lines[1] + "notes"):
        if form == "csv" and other.endswith("notes"):
            other = "image\nnotes"
        output.write_text(other)
        status, _, error = run(*command, "--output", output, "--resume")
        assert status == 1 and f"not captions as {form}" in error
        assert output.read_text() == other  # nothing of another kind is touched


def test_the_name_of_the_output_says_the_format(run, photos, checkpoint, tmp_path):
    photo = photos / "caf\u00e9.jpg"
    (photos / "a.jpg").rename(photo)

    def written(name: str, *more) -> bytes:
        command = ["caption", photo, "--checkpoint", checkpoint, "--output", tmp_path / name]
        assert run(*command, *more) == (0, "", "")
        return (tmp_path / name).read_bytes()

    table = written("x.CSV")
    assert table.startswith(b"\xef\xbb\xbfimage,caption,")  # by which Excel knows UTF-8
    assert f"\n{photo}," in table.decode("utf-8-sig")
    assert json.loads(written("x.jsonl"))["image"] == str(photo)
    assert written("x.txt") == written("x") == written("x.other")
    assert written("y.csv", "--format", "jsonl") == written("x.jsonl")  # what is asked for wins
    status, out, _ = run("caption", photo, "--checkpoint", checkpoint, "--format", "csv")
    assert out == table.decode("utf-8-sig")  # a pipe has no mark
    status, _, err = run("caption", photo, "--checkpoint", checkpoint, "--output", "x.parquet")
    assert status == 1 and "needs --engine ray" in err


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_resume_knows_a_photo_by_any_path(
    run, photos, checkpoint, tmp_path, suffix, mark, monkeypatch
):
    """Relative and absolute, each begun by the other; the records stay as they are."""
    output = tmp_path / f"captions.{suffix}"
    command = ["--checkpoint", checkpoint, "--output", output, "--resume"]
    odd = os.fsdecode(os.path.join(os.fsencode(photos), b"caf\xe9.webp"))
    (photos / "more" / "d.webp").rename(odd)
    monkeypatch.chdir(tmp_path)
    assert run("caption", "photos/a.jpg", odd, *command)[0] == 0
    before = mark + output.read_text(encoding="utf-8-sig")
    output.write_text(before, encoding="utf-8")
    assert run("caption", photos / "a.jpg", photos / "c.png", odd, *command)[0] == 0
    after = output.read_text(encoding="utf-8")
    assert after.startswith(before) and after.count("\n") == before.count("\n") + 1
    assert str(photos / "c.png") in after.removeprefix(before)
    monkeypatch.chdir(photos)
    assert run("caption", "c.png", "./c.png", "../photos/c.png", *command) == (0, "", "")
    assert output.read_text(encoding="utf-8") == after


def test_a_missing_photo_and_what_lies_beside_it(run, photos, checkpoint):
    for command, more in (("caption", []), ("explain", ["--output", photos / "x.png"])):
        missing = photos / "C.PNG"
        status, _, err = run(command, missing, "--checkpoint", checkpoint, *more)
        assert status == 1 and err.endswith(f"did you mean {photos / 'c.png'}?\n")


def test_links_to_folders_are_followed_and_what_is_lost_is_said(run, photos, checkpoint, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (photos / "more" / "d.webp").rename(disk / "d.webp")
    (photos / "album").symlink_to(disk)
    (disk / "circle").symlink_to(photos)
    (photos / "unmounted").symlink_to(tmp_path / "gone")
    (photos / "moved.jpg").symlink_to(tmp_path / "gone.jpg")
    status, out, err = run("caption", photos, "--checkpoint", checkpoint)
    names = [line.split(": ")[0].removeprefix(f"{photos}/") for line in out.splitlines()]
    assert status == 1 and names == ["a.jpg", "album/d.webp", "c.png"]
    for name in ("b.jpg", "unmounted", "moved.jpg"):
        assert f"error: {photos / name}: " in err
    assert err.count("\n") == 3 and err.count("the link leads nowhere") == 2


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_whole_lines(photos, checkpoint, tmp_path):
    """And the same command with --resume does the rest."""
    for i in range(40):
        draw_photo(40, 40, (i * 6, 90, 60)).save(photos / f"{i:02}.png")
    output = tmp_path / "captions.jsonl"
    command = [sys.executable, "-m", "model", "caption", photos, "--checkpoint", checkpoint]
    command += ["--format", "jsonl", "--output", output, "--batch-size", "1", "--resume"]
    program = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while program.poll() is None and (not output.exists() or output.read_bytes().count(b"\n") < 5):
        time.sleep(0.01)
    program.kill()
    program.wait()
    written = output.read_bytes()
    begun = [json.loads(line)["image"] for line in written.splitlines()]
    assert 5 <= len(begun) < 43 and written.endswith(b"\n")
    subprocess.run(command, stderr=subprocess.DEVNULL)
    assert output.read_bytes().startswith(written)
    records = [json.loads(line) for line in output.read_text().splitlines()]
    good = [record["image"] for record in records if "error" not in record]
    assert len(good) == len(set(good)) == 43


def test_a_name_that_is_not_text(run, photos, checkpoint, tmp_path):
    odd = os.path.join(os.fsencode(photos), b"caf\xe9.jpg")
    draw_photo().save(tmp_path / "photo.jpg")
    os.replace(tmp_path / "photo.jpg", odd)
    status, _, err = run(
        "caption",
        os.fsdecode(odd),
        photos / "a.jpg",
        "--checkpoint",
        checkpoint,
        "--output",
        tmp_path / "out.txt",
    )
    assert (status, err) == (0, "")
    first, second = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert "caf\\udce9.jpg: " in first and "a.jpg: " in second
