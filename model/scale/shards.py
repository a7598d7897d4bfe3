"""Photos inside WebDataset shards and Parquet files, each with a name that is its own."""

import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import ImageError
from model.files import LFS_POINTER, is_lfs_pointer_file
from model.images import SUFFIXES, find_images

if TYPE_CHECKING:  # whoever has no Parquet files need not have pyarrow
    import pyarrow as pa
    import pyarrow.parquet as pq

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".parquet")
PHOTO_COLUMNS = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes")
# Columns that may name a Parquet file's photos, where all of their values differ.
NAME_COLUMNS = ("path", "file_name", "filename", "name", "image_id", "id", "key", "__key__")
# Columns that may hold the paths of photos, where none holds their bytes.
PATH_COLUMNS = (
    *("image_path", "image", "path", "file_path", "filepath", "file_name", "filename"),
    *PHOTO_COLUMNS,
)


def is_shard(path: str | Path) -> bool:
    """Whether a file is one that holds photos, by its suffix."""
    return str(path).lower().endswith(SHARD_SUFFIXES)


def find_sources(path: str | Path) -> list[Path]:
    """The photos and shards of a path: itself, or all in a folder and its folders, shards first.
    See `find_images`.

    Raises `ImageError` if there is no such path, or neither photo nor shard in the folder.
    """
    return sorted(find_images(path, is_shard), key=lambda file: not is_shard(file))


def read_shard(path: str) -> Iterator[tuple[str, bytes | ImageError | None]]:
    """For each photo the suffix that its name adds to the file's, and its bytes or what is wrong
    with it alone.

    A file that is no shard is a photo itself, and adds nothing. "/member" is a tar's member with
    an image's suffix; one that occurs again is "/member#2", and so on. In a Parquet file it is
    "/value" of the first of `NAME_COLUMNS` whose values all differ, or of the photo's own path,
    or else "#row" from 0. Where such a file has paths instead of bytes, they begin at its folder.

    Raises OSError and ImageError for a file that cannot be read to its end.
    """
    if not is_shard(path):
        if os.path.isdir(path):
            os.scandir(path).close()  # raises what is wrong with a folder that cannot be read
        yield "", Path(path).read_bytes()
    elif is_lfs_pointer_file(path):
        raise ImageError(LFS_POINTER)
    elif path.lower().endswith(".parquet"):
        yield from _read_parquet(path)
    else:
        try:
            yield from _read_tar(path)
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise ImageError(str(error)) from error


def _read_tar(path: str) -> Iterator[tuple[str, bytes | ImageError]]:
    occurrences: Counter[str] = Counter()
    with tarfile.open(path, "r|*") as tar:  # from front to end: quick from a network's disk too
        for member in tar:
            hidden = os.path.basename(member.name).startswith(".")
            if hidden or Path(member.name).suffix.lower() not in SUFFIXES or member.isdir():
                continue
            name = os.fsencode(member.name).decode(errors="backslashreplace")
            normal_name = os.path.normpath(name)  # ./a.jpg is a.jpg
            occurrences[normal_name] += 1
            if occurrences[normal_name] > 1:
                name += f"#{occurrences[normal_name]}"
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield f"/{name}", file.read()
            else:
                problem = f"a link to {member.linkname}; make the shard with tar -h"
                yield f"/{name}", ImageError(f"{problem} --hard-dereference, which keeps files")
    if not occurrences:
        raise ImageError("no photo in it")


def _read_parquet(path: str) -> Iterator[tuple[str, bytes | ImageError | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            column = _find_photo_column(file.schema_arrow)
            names = iter(_name_rows(file, column))
            for batch in file.iter_batches(batch_size=16, columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield next(names), _read_cell(value, os.path.dirname(path))
    except pa.ArrowException as error:
        raise ImageError(str(error)) from error


def _read_cell(
    value: bytes | str | dict[str, bytes | str | None] | None, folder: str
) -> bytes | ImageError | None:
    """The photo of a cell: bytes, a path, or one of the hub's structs, which has either."""
    if isinstance(value, dict):
        value = value["bytes"] or value.get("path")
    if not isinstance(value, str):
        return value
    try:
        return Path(folder, value).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: what cannot be a path
        reason = getattr(error, "strerror", None) or error
        name = value if len(value) <= 200 else f"{value[:80]}..."
        problem = f"{name} cannot be opened ({reason})"
        return ImageError(f"{problem}; paths begin at the Parquet file's folder")


def _find_photo_column(schema: "pa.Schema") -> str:
    """The column of bytes, or of the hub's structs with bytes; where several, the usual name; where
    none, the first of `PATH_COLUMNS` that is text."""
    import pyarrow as pa

    def holds_bytes(kind: "pa.DataType") -> bool:
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
            if pa.types.is_null(kind):  # of a file in which no row has any
                return True
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    candidates = [field.name for field in schema if holds_bytes(field.type)]
    if len(candidates) > 1:
        candidates = [name for name in PHOTO_COLUMNS if name in candidates]
    if not candidates:
        texts = {field.name for field in schema if _is_text(field.type)}
        candidates = [name for name in PATH_COLUMNS if name in texts]
    if not candidates:
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        problem = (
            f"no column of photos as bytes or paths, called {PHOTO_COLUMNS[0]} if there are several"
        )
        raise ImageError(f"{problem}; it has {columns}")
    return candidates[0]


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _name_rows(file: "pq.ParquetFile", photo_column: str) -> list[str]:
    import pyarrow as pa

    schema = file.schema_arrow
    kinds = {field.name: field.type for field in schema}
    columns = [name for name in NAME_COLUMNS if name in kinds]
    if _is_text(kinds[photo_column]):
        columns.append(photo_column)
    elif pa.types.is_struct(kinds[photo_column]):
        if kinds[photo_column].get_field_index("path") >= 0:
            columns.append(f"{photo_column}.path")
    for column in columns:
        values = file.read(columns=[column]).flatten().column(0)
        if not values.null_count and (_is_text(values.type) or pa.types.is_integer(values.type)):
            names = [f"/{value}" for value in values.to_pylist()]
            if len({os.path.normpath(name) for name in names}) == len(names):
                return names
    return [f"#{row}" for row in range(file.metadata.num_rows)]
