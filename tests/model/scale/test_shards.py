"""Each photo of a shard has a name of its own, and none is lost without a word."""

import io
import tarfile

import pytest

from model.images import ImageError
from model.scale.shards import find_sources, read_shard
from tests.support.lfs import POINTER


def write_tar(path, *members):
    """A tar of (name, bytes), or (name, type, target) for links."""
    with tarfile.open(path, "w") as tar:
        for name, *content in members:
            member = tarfile.TarInfo(name)
            if len(content) == 2:
                member.type, member.linkname = content
                tar.addfile(member)
            else:
                member.size = len(content[0])
                tar.addfile(member, io.BytesIO(content[0]))


def write_parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), path)


def test_members_that_occur_twice_are_told_apart(tmp_path):
    shard = tmp_path / "x.TAR"
    write_tar(
        shard,
        ("a.jpg", b"1"),
        ("a.jpg", b"2"),
        ("./a.jpg", b"3"),
        ("b c/\u00e9#2.JPG", b"4"),
        ("a.txt", b"-"),
        (".a.jpg", b"-"),
    )
    photos = [
        ("/a.jpg", b"1"),
        ("/a.jpg#2", b"2"),
        ("/./a.jpg#3", b"3"),
        ("/b c/\u00e9#2.JPG", b"4"),
    ]
    assert list(read_shard(str(shard))) == photos == list(read_shard(str(shard)))
    assert find_sources(tmp_path) == [shard]


def test_links_and_empty_shards_are_said(tmp_path):
    shard = tmp_path / "x.tar"
    write_tar(shard, ("a.jpg", b"1"), ("b.jpg", tarfile.LNKTYPE, "a.jpg"))
    first, (name, problem) = read_shard(str(shard))
    assert first == ("/a.jpg", b"1")
    assert (
        name == "/b.jpg" and isinstance(problem, ImageError) and "a link to a.jpg" in str(problem)
    )
    write_tar(shard, ("a.txt", b"1"))
    with pytest.raises(ValueError, match="no photo in it"):
        list(read_shard(str(shard)))


@pytest.mark.parametrize("name", ["x.tar", "x.parquet", "x.TGZ"])
def test_a_shard_that_git_lfs_has_not_fetched(tmp_path, name):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match="git lfs pull"):
        list(read_shard(str(tmp_path / name)))


def test_rows_with_a_path_only(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    paths = ["a.jpg", str(tmp_path / "b.jpg"), "none.jpg"]
    rows = [{"bytes": None, "path": path} for path in paths]
    write_parquet(tmp_path / "hub.PARQUET", image=rows)
    write_parquet(tmp_path / "text.parquet", caption=["x", "y", "z"], image_path=paths)
    for shard in ("hub.PARQUET", "text.parquet"):
        *read, (name, problem) = read_shard(str(tmp_path / shard))
        assert read == [("/a.jpg", b"a.jpg"), (f"/{paths[1]}", b"b.jpg")]
        assert name == "/none.jpg" and str(problem).startswith("none.jpg cannot be opened (No such")


def test_names_of_a_parquet_file_that_repeat(tmp_path):
    shard = str(tmp_path / "x.parquet")
    for names in (["a", "a"], ["a", "./a"], ["a", None]):
        write_parquet(shard, image=[b"1", b"2"], name=names)
        assert list(read_shard(shard)) == [("#0", b"1"), ("#1", b"2")]
    write_parquet(shard, image=[b"1", b"2"], name=["a", "a"], id=["\u00e9/1", "\u00e9 2"])
    assert list(read_shard(shard)) == [("/\u00e9/1", b"1"), ("/\u00e9 2", b"2")]


def test_links_to_folders_are_followed(tmp_path):
    disk = tmp_path / "disk"
    (tmp_path / "data").mkdir()
    disk.mkdir()
    write_tar(disk / "x.tar", ("a.jpg", b"1"))
    (disk / "b.jpg").touch()
    (tmp_path / "data" / "more").symlink_to(disk)
    (tmp_path / "data" / "gone.tar").symlink_to(tmp_path / "gone")
    names = [str(path.relative_to(tmp_path / "data")) for path in find_sources(tmp_path / "data")]
    assert names == ["gone.tar", "more/x.tar", "more/b.jpg"]
