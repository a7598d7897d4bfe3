"""Captions on Ray are the plain command's, from folders and shards, whatever else goes wrong."""

import io
import json
import os
import shutil
import sys
import tarfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from model import load
from model.__main__ import main
from model.memory import Memory
from model.memory.files import estimate_loaded_bytes
from model.scale import part_files, ray_engine
from model.scale.attempts import Attempts
from model.scale.part_files import PartFiles
from model.scale.plan import MAX_BATCH_SIZE, plan_batch_size, plan_workers
from tests.support.florence_hub import save_florence2
from tests.support.tiny import draw_photo, tiny_captioner_with_memory
from tests.support.translators import tiny_translator

COLOURS = {name: (40 * i, 250 - 30 * i, 90) for i, name in enumerate("abcdefg")}


class Fatal(ray_engine.Worker):
    """A worker whose process a certain photo ends, as a crash of a C library does."""

    def _load_pixel_values(self, row):
        if row["image"].endswith("fatal.jpg"):
            os._exit(1)
        return super()._load_pixel_values(row)


def photo(name: str) -> bytes:
    file = io.BytesIO()
    draw_photo(60, 60, COLOURS[name]).save(file, "PNG")
    return file.getvalue()


def caption(*arguments) -> int:
    return main(["caption", *map(str, arguments)])


def lines(*files: Path) -> list[dict]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with photos a and b, a tar with c and d, Parquet with the rest, and bad ones."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    (folder / "a.png").write_bytes(photo("a"))
    (folder / "more" / "b.png").write_bytes(photo("b"))
    (folder / "bad.jpg").write_text("not a photo")
    (folder / "fatal.jpg").write_bytes(photo("a"))
    (folder / "half.tar").write_bytes(b"no tar")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for name, data in {
            "c.png": photo("c"),
            "c.txt": b"a caption",
            "x/d.png": photo("d"),
            "x/bad.png": b"?",
        }.items():
            add(tar, name, data)
    hub = [{"bytes": photo("e"), "path": "e.png"}, {"bytes": None, "path": "none.png"}]
    pq.write_table(pa.table({"label": [1, 2], "image": hub}), folder / "hub.parquet")
    raw = {"id": [7, 7], "jpg": [photo("f"), photo("g")]}  # ids that name no photo
    pq.write_table(pa.table(raw), folder / "raw.parquet")
    pq.write_table(pa.table({"url": ["http://x/y.jpg"], "n": [1]}), folder / "urls.parquet")
    return folder


# Each photo's name in the output.
NAMES = {
    "a": "a.png",
    "b": "more/b.png",
    "c": "shard.tar/c.png",
    "d": "shard.tar/x/d.png",
    "e": "hub.parquet/e.png",
    "f": "raw.parquet#0",
    "g": "raw.parquet#1",
}


@pytest.fixture(scope="module")
def run(photos, checkpoint):
    """The command on two workers, of a Ray that all tests share: status, output and errors."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")

    def run(output, *more, photos=photos) -> tuple[int, str, str]:
        engine = ["--engine", "ray", "--workers", 2, "--batch-size", 4, "--output", output]
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            status = caption(photos, "--checkpoint", checkpoint, *engine, *more)
        return status, out.getvalue(), err.getvalue()

    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=10**8,
        include_dashboard=False,
        log_to_driver=False,
    )
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray cannot import this file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_engine, "Worker", Fatal)
        yield run
    ray.shutdown()


@pytest.fixture(scope="module")
def first(run, tmp_path_factory):
    """A run's output folder, and what the command said."""
    output = tmp_path_factory.mktemp("output") / "captions"
    return output, run(output)


@pytest.mark.slow
def test_the_captions_of_the_plain_command(first, photos, checkpoint, tmp_path):
    for name in COLOURS:
        (tmp_path / f"{name}.png").write_bytes(photo(name))
    file = tmp_path / "plain.jsonl"
    plain = ["--checkpoint", checkpoint, "--format", "jsonl", "--output", file]
    assert caption(tmp_path, *plain) == 0
    expected = {Path(r["image"]).stem: r for r in lines(file)}
    assert len({r["caption"] for r in expected.values()}) > 1

    output, (status, out, err) = first
    assert status == 1 and out.startswith("7 photos captioned in ") and out.count("\n") == 1
    assert err.startswith("error: 6 could not be captioned") and err.count("\n") == 1
    found = {r["image"]: r for r in lines(*output.glob("part-*.jsonl"))}
    assert set(found) == {str(photos / name) for name in NAMES.values()}
    for name, plainly in expected.items():
        record = found[str(photos / NAMES[name])]
        assert list(record) == list(plainly)
        assert record["caption"] == plainly["caption"]
        assert record["checkpoint"] == plainly["checkpoint"]
        assert record["log_probability"] == pytest.approx(plainly["log_probability"], abs=1e-3)
        for word, same in zip(record["words"], plainly["words"], strict=True):
            assert word["text"] == same["text"]
            assert word["probability"] == pytest.approx(same["probability"], abs=1e-3)

    errors = {r["image"].removeprefix(f"{photos}/"): r for r in lines(output / "errors.jsonl")}
    told = {
        "bad.jpg": "not an image that can be opened",
        "fatal.jpg": "ends the process",
        "half.tar": "cannot be read",
        "shard.tar/x/bad.png": "not an image that can be opened",
        "hub.parquet/none.png": "none.png cannot be opened (No such file",
        "urls.parquet": "it has url (string), n (int64)",
    }
    assert set(errors) == set(told)
    for name, record in errors.items():
        assert set(record) == {"image", "error"}
        assert record["error"].startswith(f"{photos / name}: ") and told[name] in record["error"]


@pytest.mark.slow
def test_another_run_does_the_rest(first, run, photos, tmp_path):
    """What is new, what was lost and what failed, here as Parquet; what is there stays."""
    pq = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "captions"
    shutil.copytree(first[0], output)
    kept = [r for r in lines(*output.glob("part-*")) if not r["image"].endswith("d.png")]
    for part in output.glob("part-*"):
        part.unlink()
    part = output / "part-000003.jsonl"
    part.write_text("".join(json.dumps(r) + "\n" for r in kept))
    before = part.read_bytes()
    for name in ("fatal.jpg", "half.tar", "urls.parquet"):
        (photos / name).unlink()
    (photos / "bad.jpg").write_bytes(photo("a"))
    (photos / "new.png").write_bytes(photo("b"))

    status, out, err = run(output, "--format", "parquet", "--num-captions", 2)
    assert status == 1 and "2 could not be captioned" in err
    assert out.startswith("3 photos captioned in ") and "6 were there" in out
    assert part.read_bytes() == before
    rows = [r for p in output.glob("part-*.parquet") for r in pq.read_table(p).to_pylist()]
    names = ("bad.jpg", "new.png", "shard.tar/x/d.png")
    assert sorted(r["image"] for r in rows) == sorted(2 * [str(photos / name) for name in names])
    for row in rows:
        assert row["caption"] == " ".join(word["text"] for word in row["words"])


@pytest.mark.slow
def test_captions_that_borrow_from_a_memory(run, tmp_path, monkeypatch):
    """They are the plain command's, and a folder of them is not gone on with without it."""
    pq = pytest.importorskip("pyarrow.parquet")
    folder, memory, file = tmp_path / "photos", tmp_path / "memory", tmp_path / "plain.jsonl"
    folder.mkdir()
    captioner = tiny_captioner_with_memory()
    captioner.save_pretrained(tmp_path / "captioner", torch.float32)
    for name in "ab":
        (folder / f"{name}.png").write_bytes(photo(name))
        (folder / f"{name}.txt").write_text(f"Photo {name}.")
    Memory.build(captioner, folder).save(memory)
    more = ["--checkpoint", tmp_path / "captioner", "--memory", memory]
    assert caption(folder, *more, "--output", file) == 0
    expected = {r["image"]: r for r in lines(file)}
    planned = []
    monkeypatch.setattr(
        ray_engine, "plan_workers", lambda *given: planned.append(given) or plan_workers(*given)
    )
    for form in ("jsonl", "parquet"):
        output = tmp_path / form
        assert run(output, *more, "--format", form, photos=folder)[0] == 0
        parts = list(output.glob("part-*"))
        rows = lines(*parts) if form == "jsonl" else pq.read_table(parts[0]).to_pylist()
        assert {r["image"] for r in rows} == set(expected)
        for row in rows:
            plainly = expected[row["image"]]
            assert row["remembered"] == plainly["remembered"] and row["memory"] == str(memory)
            assert row["caption"] == plainly["caption"]
            assert row["log_probability"] == pytest.approx(plainly["log_probability"], abs=1e-3)
        assert planned[-1][-1] == estimate_loaded_bytes(memory) > 0
        assert "2 were there" in run(output, *more, "--format", form, photos=folder)[1]
        status, _, err = run(output, *more[:2], photos=folder)
        assert status == 1 and f"with the memory {memory}; give another folder" in err
    status, _, err = run(tmp_path / "x", "--memory", folder, photos=folder)
    assert status == 1 and "no memory in it" in err and not (tmp_path / "x").exists()


@pytest.mark.slow
def test_captions_that_are_translated(run, checkpoint, tmp_path):
    """They are the plain command's, and a folder of them is not gone on with in another way."""
    pq = pytest.importorskip("pyarrow.parquet")
    tiny_translator(max_length=128).save_pretrained(tmp_path / "translator")
    more = ["--language", "xx", "--translator", tmp_path / "translator"]
    folder, file = tmp_path / "photos", tmp_path / "plain.jsonl"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_bytes(photo(name))
    assert caption(folder, "--checkpoint", checkpoint, *more, "--output", file) == 0
    expected = {r["image"]: r for r in lines(file)}
    for form in ("jsonl", "parquet"):
        output = tmp_path / form
        assert run(output, *more, "--format", form, photos=folder)[0] == 0
        parts = list(output.glob("part-*"))
        rows = lines(*parts) if form == "jsonl" else pq.read_table(parts[0]).to_pylist()
        assert {r["image"] for r in rows} == set(expected)
        for row in rows:
            for key in ("caption", "translation", "language"):
                assert row[key] == expected[row["image"]][key]
        for changed in ([], ["--language", "yy", *more[2:]]):
            status, _, err = run(output, *changed, photos=folder)
            assert status == 1 and "with translations into xx; give another folder" in err


@pytest.mark.slow
def test_every_worker_asks_the_prompt(run, tmp_path):
    """A folder of answers is not gone on with by another question."""
    pq = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_bytes(photo(name))
    save_florence2(tmp_path / "captioner")
    plain = ["--checkpoint", tmp_path / "captioner", "--workers", 1, "--format", "parquet"]
    asking = [*plain, "--prompt", "Name the colours."]
    captioner = load(tmp_path / "captioner")
    files = [str(folder / f"{name}.png") for name in "ab"]
    asked = captioner.with_prompt("Name the colours.")
    expected = {file: asked.caption(file).text for file in files}
    assert expected != {file: captioner.caption(file).text for file in files}
    output = tmp_path / "output"
    assert run(output, *asking, photos=folder)[0] == 0
    rows = pq.read_table(next(output.glob("part-*"))).to_pylist()
    assert {r["image"]: r["caption"] for r in rows} == expected
    assert {r["prompt"] for r in rows} == {"Name the colours."}
    assert "2 were there" in run(output, *asking, photos=folder)[1]
    status, _, err = run(output, *plain, photos=folder)
    assert status == 1 and "with --prompt 'Name the colours.'; give another folder" in err


@pytest.mark.slow
def test_links_paths_and_members_that_occur_twice(run, tmp_path, monkeypatch):
    """Each photo has a record of its own; a later run finds them all by another path."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    folder, disk = tmp_path / "photos", tmp_path / "disk"
    for path in (folder, disk):
        path.mkdir()
    (disk / "a.png").write_bytes(photo("a"))
    (folder / "album").symlink_to(disk)
    (disk / "circle").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "unmounted")
    with tarfile.open(folder / "x.TAR", "w") as tar:
        add(tar, "caf\u00e9 #1.png", photo("b"))
        add(tar, "./caf\u00e9 #1.png", photo("c"))
    pq.write_table(pa.table({"path": ["album/a.png", "none.png"]}), folder / "y.parquet")
    monkeypatch.chdir(tmp_path)
    status, out, err = run("captions", photos="photos")
    assert status == 1 and out.startswith("4 photos captioned in ")
    names = {r["image"] for r in lines(*Path("captions").glob("part-*"))}
    assert names == {
        "photos/album/a.png",
        "photos/x.TAR/caf\u00e9 #1.png",
        "photos/x.TAR/./caf\u00e9 #1.png#2",
        "photos/y.parquet/album/a.png",
    }
    errors = {r["image"]: r["error"] for r in lines(Path("captions/errors.jsonl"))}
    assert set(errors) == {"photos/gone", "photos/y.parquet/none.png"}
    assert all("No such file" in error for error in errors.values())
    status, out, _ = run("captions", photos=folder)  # by its absolute path
    assert out.startswith("0 photos captioned in ") and "4 were there" in out


def test_parts_are_whole_or_absent(tmp_path, monkeypatch):
    """Killed while it writes a part, a run leaves nothing that the next takes for done."""
    record = {"image": "a.jpg", "caption": "A dog.", "checkpoint": "tiny"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with PartFiles(tmp_path, "jsonl", "tiny") as parts:
            parts.add([record])
    assert not list(tmp_path.glob("part-*"))
    assert not PartFiles(tmp_path, "jsonl", "tiny").images_done

    with PartFiles(tmp_path, "jsonl", "tiny") as parts:
        parts.add([{"image": "b.jpg", "error": "b.jpg: broken"}])
        parts.add([record])
    assert lines(*tmp_path.glob("part-*")) == [record]
    assert PartFiles(tmp_path, "jsonl", "tiny").images_done == {"a.jpg"}
    assert [r["image"] for r in lines(tmp_path / "errors.jsonl")] == ["b.jpg"]
    with PartFiles(tmp_path, "jsonl", "tiny") as parts:  # interrupted: what is ready is written
        parts.add([{**record, "image": "c.jpg"}])
    assert parts.images_done | {"c.jpg"} == PartFiles(tmp_path, "jsonl", "tiny").images_done
    assert not (tmp_path / "errors.jsonl").exists()  # b.jpg is tried again
    with pytest.raises(ValueError, match="has captions by tiny; give another folder"):
        PartFiles(tmp_path, "jsonl", "other")
    with pytest.raises(ValueError, match="captions by tiny without --prompt; give another folder"):
        PartFiles(tmp_path, "jsonl", "tiny", prompt="Why?")
    with pytest.raises(ValueError, match="by tiny without a memory; give another folder"):
        PartFiles(tmp_path, "jsonl", "tiny", "memory")


def test_a_memory_is_known_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = {"image": "a.jpg", "caption": "A dog.", "checkpoint": "tiny", "memory": "mine"}
    with PartFiles("captions", "jsonl", "tiny", "mine") as parts:
        parts.add([record])
    for name in ("mine/", tmp_path / "mine"):
        assert PartFiles("captions", "jsonl", "tiny", str(name)).images_done == {"a.jpg"}
    with pytest.raises(ValueError, match="by tiny with the memory mine; give another folder"):
        PartFiles("captions", "jsonl", "tiny", "other")


def test_a_part_is_written_when_it_is_full_or_late(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(part_files.time, "monotonic", lambda: now)
    monkeypatch.setattr(part_files, "MAX_PART_RECORDS", 3)
    with PartFiles(tmp_path, "jsonl", "tiny") as parts:
        for number in range(4):
            parts.add([{"image": str(number), "caption": "", "checkpoint": "tiny"}])
        assert [len(lines(p)) for p in tmp_path.glob("part-*")] == [3]
        now = 61.0
        parts.add([{"image": "4", "caption": "", "checkpoint": "tiny"}])
        assert [len(lines(p)) for p in sorted(tmp_path.glob("part-*"))] == [3, 2]


def test_a_photo_that_ends_processes_is_given_up():
    attempts = Attempts()
    assert attempts.begin_batch(["a", "b"])
    attempts.finish(["a", "b"])
    assert attempts.begin_batch(["a", "b"])
    assert not attempts.begin_batch(["a", "b"]) and attempts.begin_batch(["c"])  # its process ended
    for _ in range(2):
        assert attempts.begin_alone("a")
        attempts.finish(["a"])
        assert attempts.begin_alone("b")  # which ends its process too
        assert not attempts.begin_batch(["a", "b"])
    assert attempts.begin_alone("a") and not attempts.begin_alone("b")
    attempts.finish(["a", "b"])
    assert attempts.begin_batch(["a", "b"]) and attempts.begin_alone("b")


def test_workers_and_batches_fit_the_machines():
    gigabyte = 10**9
    assert plan_workers(None, [2], 0, 20 * gigabyte) == (2, 1)
    assert plan_workers(None, [64], 0, 8 * gigabyte) == (4, 16)  # memory for four captioners
    assert plan_workers(None, [2], 0, gigabyte) == (1, 2)
    assert plan_workers(3, [8, 8], 0, 64 * gigabyte) == (3, 4)  # 5 would not fit three times
    assert plan_workers(None, [16], 2, 64 * gigabyte) == (2, 8)
    for workers, gpus, room in ((5, 0, "4, Ray's cores"), (2, 1, "1, Ray's GPUs"), (0, 0, "4")):
        with pytest.raises(ValueError, match=f"must be from 1 to {room}"):
            plan_workers(workers, [4], gpus, 8 * gigabyte)
    assert plan_batch_size(gigabyte) == 1
    assert plan_batch_size(2.1 * gigabyte) == 6
    assert plan_batch_size(64 * gigabyte) == MAX_BATCH_SIZE


def test_each_worker_has_room_for_its_memory():
    gigabyte = 10**9
    assert plan_workers(None, [64], 0, 12 * gigabyte, remembered=gigabyte) == (4, 16)
    assert plan_workers(None, [8], 0, 12 * gigabyte, remembered=20 * gigabyte) == (1, 8)
    assert plan_workers(6, [8], 0, 12 * gigabyte, remembered=gigabyte) == (6, 1)  # as asked for
    assert plan_batch_size(3.1 * gigabyte, gigabyte) == plan_batch_size(2.1 * gigabyte) == 6
    assert plan_batch_size(3 * gigabyte, 2 * gigabyte) == 1


def test_without_ray(photos, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    ray = ["--checkpoint", checkpoint, "--engine", "ray"]
    assert caption(photos, *ray, "--output", tmp_path) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("error: ") and "pip install 'ray[data]'" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--engine", "ray"], "needs --output FOLDER"),
        (["--engine", "ray", "--output", "x", "--format", "csv"], "jsonl or parquet, not csv"),
        (["--workers", "2"], "need --engine ray"),
        (["--format", "parquet"], "need --engine ray"),
    ],
)
def test_arguments_that_do_not_fit(photos, arguments, message, capsys):
    assert caption(photos, *arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and message in err
