"""Captions at scale: photos in folders, Parquet files and WebDataset shards, captioned on Ray Data.

    readers ──bytes──▶ workers, one captioner in each ──records──▶ this process ──▶ part files

Only this process writes, and a part file is whole or absent: a run that was interrupted goes on
when the same command is given again.
"""

import io
import json
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from model.batches import caption_readable
from model.captioner import Captioner, choose_device
from model.errors import ImageError, RunError
from model.images import load_image
from model.loading import load
from model.memory import Memory
from model.memory.files import estimate_loaded_bytes
from model.output.records import add_translations, make_photo_key, make_records
from model.output_path import check_output_folder
from model.scale.attempts import Attempts
from model.scale.part_files import PartFiles
from model.scale.plan import plan_batch_size, plan_workers
from model.scale.shards import find_sources, is_shard, read_shard
from model.search.caption import Caption
from model.translation import load_translator

if TYPE_CHECKING:  # Ray and pyarrow need not be there until captions are made with them
    import pyarrow as pa
    import ray
    from ray.actor import ActorHandle

# Bytes of photos that readers hand on at a time: few, so that all workers get some
MAX_BLOCK_BYTES = 2**20
# Bytes that a Ray of our own keeps at most: where /dev/shm is small, it uses a file
OBJECT_STORE_BYTES = 2**29
LOG_FILE = "ray.log"


class PhotoCounts(NamedTuple):
    """Numbers of photos: in the output before, captioned now, and tried in vain."""

    done_before: int
    captioned: int
    failed: int


def caption_on_ray(
    paths: Sequence[str],
    output: str | Path,
    *,
    checkpoint: str | Path,
    options: dict[str, Any],
    memory: str | None = None,
    prompt: str | None = None,
    language: str | None = None,
    translator: str | None = None,
    format: str = "jsonl",
    num_workers: int | None = None,
    batch_size: int | None = None,
) -> PhotoCounts:
    """Caption the photos that the folder `output` does not hold yet.

    Args:
        paths: photos, Parquet files, WebDataset shards (tar), or folders of these.
        options: of `DecodingOptions`.
        memory: folder of a memory whose captions the words may look at too.
        prompt: what the captioner is asked; None: its own question, if any.
        language, translator: into which language captions are translated too, and by whom: the
            folder, or None for the shipped one.
        format: of `part_files.FORMATS`.
        num_workers: captioners; if None, one for each GPU, or else for each core that has memory
            for it.
        batch_size: photos at a time; if None, as many as the memory of each worker allows.

    RAY_ADDRESS names a cluster, whose machines must see the same files under the same paths;
    without it, Ray runs on this machine for as long as it takes.

    Raises RunError where Ray Data is missing or fails, and OptionError for more workers than there
    is room for, for an output that another captioner wrote, and for an unknown language.
    """
    check_output_folder(output)
    ray = _import_ray()
    captioner = _load_captioner(checkpoint, prompt)
    captioner.options(**options)  # raises OptionError before any photo is read
    if memory is not None:
        Memory.load(memory).check_captioner(captioner.network, captioner.name)
    if language is not None:
        load_translator(translator).check_language(language)
    parts = PartFiles(output, format, captioner.name, memory, language, prompt)
    done = {make_photo_key(image) for image in parts.images_done}
    sources = list(_list_sources(paths, done))
    task = CaptionTask(checkpoint, options, memory, prompt, language, translator)
    was_running = ray.is_initialized()
    log = Path(output, LOG_FILE)
    with _redirect_output(log):
        try:
            with parts:
                for photo_records in _caption_sources(
                    ray, sources, done, task, num_workers, batch_size
                ):
                    parts.add(photo_records)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise RunError(f"Ray stopped, see {log}: {reason}") from error
        finally:
            if not was_running:
                ray.shutdown()
    return PhotoCounts(len(parts.images_done), parts.num_captioned, parts.num_failed)


def _load_captioner(checkpoint: str | Path, prompt: str | None) -> Captioner:
    captioner = load(checkpoint)
    return captioner if prompt is None else captioner.with_prompt(prompt)


def _import_ray() -> ModuleType:
    # read by Ray when it is imported: no statistics sent, no bars
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray.data
    except ImportError as error:
        problem = f"the ray engine needs Ray Data ({error}): pip install 'ray[data]'"
        raise RunError(problem) from error
    return ray


def _start_ray(ray: ModuleType) -> None:
    address = os.environ.get("RAY_ADDRESS") or "local"
    settings = {}
    if address == "local":
        settings = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(address, log_to_driver=False, logging_level="WARNING", **settings)
    except Exception as error:  # Ray raises errors of no class of its own here
        raise RunError(f"Ray did not start: {error}") from error


@contextmanager
def _redirect_output(file: Path) -> Iterator[None]:
    """Append what Ray prints to a file: nothing silences it, its C++ side least of all, and it may
    be needed."""
    with file.open("a", encoding="utf-8", errors="backslashreplace") as log:
        standard_error = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            with redirect_stdout(log):
                yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _list_sources(paths: Sequence[str], done: set[str]) -> Iterator[dict[str, Any]]:
    """What is left to read, as rows for `read_source`: photos, shards, and paths that are neither,
    with their error."""
    keys = set(done)
    for given_path in paths:
        try:
            files, problem = find_sources(given_path), ""
        except ImageError as error:
            files, problem = [Path(given_path)], str(error)
        for file in files:
            # bytes that are not text could not be in a table either
            image = os.fsencode(file).decode(errors="backslashreplace")
            if make_photo_key(image) not in keys:
                keys.add(make_photo_key(image))
                yield {"image": image, "path": os.fsencode(file), "error": problem}


def read_source(
    source: dict[str, Any], done: "ray.ObjectRef[set[str]]", working_folder: str
) -> Iterator[dict[str, Any]]:
    """The photos of a row of `_list_sources`, as rows with their bytes or what is wrong.

    Args:
        done: a Ray reference to the keys (`make_photo_key`) of the photos to leave out.
        working_folder: where relative paths begin, as Ray's processes start elsewhere.
    """
    name, problem = source["image"], source["error"]
    if not problem:
        path = os.path.join(working_folder, os.fsdecode(source["path"]))
        keys_done: set[str] = set()
        if is_shard(path):  # `_list_sources` has left out the other photos that are done
            import ray

            keys_done = ray.get(done)
        try:
            for suffix, data in read_shard(path):
                if suffix and make_photo_key(name + suffix, working_folder) in keys_done:
                    continue
                if isinstance(data, ImageError):
                    yield _make_photo_row(name + suffix, error=f"{name}{suffix}: {data}")
                else:
                    yield _make_photo_row(name + suffix, data or b"")
        except (ImageError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            problem = f"{name}: cannot be read ({reason})"
        except Exception as error:
            problem = f"{name}: {type(error).__name__}: {error}"
            yield _make_photo_row(name, error=problem, trace=traceback.format_exc())
            return
    if problem:
        yield _make_photo_row(name, error=problem)


def _make_photo_row(
    name: str, data: bytes = b"", error: str = "", trace: str = ""
) -> dict[str, Any]:
    """What a reader hands on: a photo's bytes, or why there are none; the trace is that of a fault
    of the program."""
    return {"image": name, "bytes": data, "error": error, "trace": trace}


class CaptionTask(NamedTuple):
    """What each worker is to do with its photos; see `caption_on_ray`."""

    checkpoint: str | Path
    options: dict[str, Any]
    memory: str | None
    prompt: str | None
    language: str | None
    translator: str | None


class Worker:
    """A captioner in a process of its own, which Ray Data calls with a batch of photos.

    Args:
        attempts: Ray's handle of the `Attempts` that all workers share.
        num_threads: for torch.
        working_folder: where the relative paths of the task begin.
    """

    def __init__(
        self,
        task: CaptionTask,
        attempts: "ActorHandle[Attempts]",
        num_threads: int,
        working_folder: str,
    ):
        os.chdir(working_folder)
        torch.set_num_threads(num_threads)
        self.task, self.attempts = task, attempts
        self.captioner = _load_captioner(task.checkpoint, task.prompt).to(choose_device())
        self.memory = None if task.memory is None else Memory.load(task.memory)
        if task.language is not None:
            self.translator = load_translator(task.translator)

    def __call__(self, table: "pa.Table") -> dict[str, list[str]]:
        """From a table of `read_source`'s rows to one that holds each photo's records as JSON."""
        rows = table.to_pylist()
        names = [row["image"] for row in rows]
        if self._call_attempts("begin_batch", names):
            results = self._caption_rows(rows)
        else:
            results = [self._caption_alone(row) for row in rows]
        self._call_attempts("finish", names)
        records = [
            make_records(name, result, self.captioner.name, self.task.memory, self.task.prompt)
            for name, result in zip(names, results, strict=True)
        ]
        if self.task.language is not None:
            add_translations([*chain(*records)], self.translator, self.task.language)
        return {"records": [json.dumps(photo_records) for photo_records in records]}

    def _call_attempts(self, method: str, argument: str | list[str]) -> bool | None:
        import ray

        return ray.get(getattr(self.attempts, method).remote(argument))

    def _caption_alone(self, row: dict[str, Any]) -> list[Caption] | Exception:
        """A photo by itself, as it or one beside it has ended a process."""
        name = row["image"]
        if not self._call_attempts("begin_alone", name):
            problem = "ends the process that captions it (a crash, or no memory left); give a copy"
            return ImageError(f"{name}: {problem}")
        result = self._caption_rows([row])[0]
        self._call_attempts("finish", [name])  # it does no harm, however often the next one does
        return result

    def _caption_rows(self, rows: list[dict[str, Any]]) -> list[list[Caption] | Exception]:
        pixel_values: list[Tensor | Exception] = []
        for row in rows:
            try:
                pixel_values.append(self._load_pixel_values(row))
            except Exception as error:  # a fault of the program too: it is in the photo's record
                pixel_values.append(error)
        return caption_readable(pixel_values, self._caption_pixel_values)

    def _load_pixel_values(self, row: dict[str, Any]) -> Tensor:
        if row["trace"]:
            raise RuntimeError(row["error"]) from RuntimeError(row["trace"])
        if row["error"]:
            raise ImageError(row["error"])
        # one photo at a time, as it can be a hundred times larger than what the encoder sees
        photo = load_image(_NamedBytes(row["bytes"], row["image"]))
        return self.captioner.network.pixel_values([photo])

    def _caption_pixel_values(self, pixel_values: list[Tensor]) -> list[list[Caption] | Exception]:
        """Captions of photos, each as pixels (1, 3, height, width); what fails is tried again in
        halves, as there may have been too little memory, and in the end is the photo's error."""
        try:
            encoded = self.captioner.network.encode_pixel_values(torch.cat(pixel_values))
            return [*self.captioner.captions(encoded, memory=self.memory, **self.task.options)]
        except Exception as error:
            if len(pixel_values) == 1:
                return [error]
        half = len(pixel_values) // 2
        return self._caption_pixel_values(pixel_values[:half]) + self._caption_pixel_values(
            pixel_values[half:]
        )


class _NamedBytes(io.BytesIO):
    """A photo's bytes with its name, which `load_image` puts into its errors."""

    def __init__(self, data: bytes, name: str):
        super().__init__(data)
        self.name = name


def _caption_sources(
    ray: ModuleType,
    sources: list[dict[str, Any]],
    done: set[str],
    task: CaptionTask,
    num_workers: int | None,
    batch_size: int | None,
) -> Iterator[list[dict[str, Any]]]:
    """Each photo's records, in the order in which they are finished. Starts Ray if it must."""
    if not sources:
        return
    if not ray.is_initialized():
        _start_ray(ray)
    resources = ray.cluster_resources()
    cores = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
    num_gpus = int(resources.get("GPU", 0))
    num_bytes = resources.get("memory", 0)  # of memory, on all machines
    remembered = 0 if task.memory is None else estimate_loaded_bytes(Path(task.memory))
    num_workers, num_threads = plan_workers(num_workers, cores, num_gpus, num_bytes, remembered)
    batch_size = batch_size or plan_batch_size(num_bytes / num_workers, remembered)

    working_folder = os.getcwd()
    attempts = ray.remote(num_cpus=0)(Attempts).remote()
    ray.data.DataContext.get_current().target_max_block_size = MAX_BLOCK_BYTES
    dataset = ray.data.from_items(sources, override_num_blocks=min(len(sources), 1000))
    dataset = dataset.flat_map(
        read_source,
        fn_kwargs={"done": ray.put(done), "working_folder": working_folder},
        num_cpus=0,  # the workers have all, and reading takes next to nothing
        compute=ray.data.TaskPoolStrategy(size=-(-num_workers // 4)),
    )
    dataset = dataset.map_batches(
        Worker,
        fn_constructor_args=(task, attempts, num_threads, working_folder),
        batch_size=batch_size,
        batch_format="pyarrow",
        num_cpus=num_threads,
        num_gpus=1 if num_gpus else 0,
        compute=ray.data.ActorPoolStrategy(size=num_workers),
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from map(json.loads, batch["records"].to_pylist())
