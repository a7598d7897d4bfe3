"""Photos inside WebDataset shards and Parquet files, each with a name that is its own."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from model.images import SUFFIXES, ImageError, find_images

SHARDS = (".tar", ".tar.gz", ".tgz", ".parquet")
IMAGES = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes")
# Columns that may name a Parquet file's photos, where all of their values differ.
NAMES = ("path", "file_name", "filename", "name", "image_id", "id", "key", "__key__")


def is_shard(path: str | Path) -> bool:
    """Whether a file is one that holds photos, by its suffix."""
    return str(path).lower().endswith(SHARDS)


def sources(path: str | Path) -> list[Path]:
    """The photos and shards that a path stands for: itself, or all below a folder.

    Raises `ImageError` if there is no such path, or neither photo nor shard in the folder.
    """
    shards = []
    if os.path.isdir(path):
        shards = [
            file
            for file in Path(path).rglob("*")
            if is_shard(file)
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
            and file.is_file()
        ]
    try:
        return sorted(shards) + find_images(path)
    except ImageError:
        if not shards:
            raise
        return sorted(shards)


def photos_in(path: str) -> Iterator[tuple[str, bytes | None]]:
    """Each photo's bytes, after what its name adds to the file's.

    A file that is no shard is a photo itself, and adds nothing. "/member" is a tar's member with
    an image's suffix. In a Parquet file it is "/value" of the first of `NAMES` whose values all
    differ, or of the path beside the photo, or else "#row" from 0.

    Raises OSError, tarfile.TarError and ValueError for a file that cannot be read to its end.
    """
    if not is_shard(path):
        yield "", Path(path).read_bytes()
    elif path.lower().endswith(".parquet"):
        yield from _in_parquet(path)
    else:
        yield from _in_tar(path)


def _in_tar(path: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r|*") as tar:  # from front to end: quick from a network's disk too
        for member in tar:
            hidden = os.path.basename(member.name).startswith(".")
            if member.isfile() and not hidden and Path(member.name).suffix.lower() in SUFFIXES:
                name = os.fsencode(member.name).decode(errors="backslashreplace")
                yield f"/{name}", tar.extractfile(member).read()


def _in_parquet(path: str) -> Iterator[tuple[str, bytes | None]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        column = _photo_column(file.schema_arrow)
        names = iter(_names(file, column))
        for batch in file.iter_batches(batch_size=16, columns=[column]):
            for value in batch.column(0).to_pylist():
                yield next(names), value["bytes"] if isinstance(value, dict) else value


def _photo_column(schema) -> str:
    """The column of bytes, or of the hub's structs with bytes; where several, the usual name."""
    import pyarrow as pa

    def holds_bytes(kind) -> bool:
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    found = [field.name for field in schema if holds_bytes(field.type)]
    if len(found) > 1:
        found = [name for name in IMAGES if name in found]
    if not found:
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        problem = f"no column of photos as bytes, called {IMAGES[0]} if there are several"
        raise ValueError(f"{problem}; it has {columns}")
    return found[0]


def _names(file, photo_column: str) -> list[str]:
    import pyarrow as pa

    schema = file.schema_arrow
    kinds = {field.name: field.type for field in schema}
    columns = [name for name in NAMES if name in kinds]
    if pa.types.is_struct(kinds[photo_column]) and kinds[photo_column].get_field_index("path") >= 0:
        columns.append(f"{photo_column}.path")
    for column in columns:
        values = file.read(columns=[column]).flatten().column(0)
        named = pa.types.is_string(values.type) or pa.types.is_integer(values.type)
        if named and not values.null_count and len(values.unique()) == len(values):
            return [f"/{value}" for value in values.to_pylist()]
    return [f"#{row}" for row in range(file.metadata.num_rows)]
