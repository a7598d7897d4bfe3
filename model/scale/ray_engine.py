"""Captions at scale: photos in folders, Parquet files and WebDataset shards, captioned on Ray Data.

    readers ──bytes──▶ workers, one captioner in each ──records──▶ this process ──▶ part files

Only this process writes, and a part file is whole or absent: a run that was interrupted goes on
when the same command is given again.
"""

import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.captioner import default_device
from model.errors import ImageError, OptionError, RunError
from model.images import load_image
from model.loading import load
from model.output.records import photo_key, records
from model.output_path import check_output_folder
from model.scale.part_files import PartFiles
from model.scale.shards import is_shard, photos_in, sources
from model.search.caption import Caption

# What a worker needs, measured with the shipped checkpoint: 0.9 GB once it is loaded, and 8 MB a
# photo of the batch with five beams. Both doubled, for larger captioners, photos and beams.
WORKER_MEMORY, PHOTO_MEMORY = 2 * 10**9, 16 * 10**6
LARGEST_BATCH = 32  # larger ones are no faster

BLOCK = 2**20  # bytes of photos that readers hand on at a time: few, so that all workers get some
STORE = 2**29  # bytes that a Ray of our own keeps at most: where /dev/shm is small, it uses a file
LOG = "ray.log"


class Result(NamedTuple):
    """Numbers of photos: in the output before, captioned now, and tried in vain."""

    there: int
    captioned: int
    failed: int


def caption_on_ray(
    paths: Sequence[str],
    output: str | Path,
    *,
    checkpoint: str | Path,
    options: dict[str, Any],
    format: str = "jsonl",
    workers: int | None = None,
    batch_size: int | None = None,
) -> Result:
    """Caption the photos that the folder `output` does not hold yet.

    paths: photos, Parquet files, WebDataset shards (tar), or folders of these.
    options: of `DecodingOptions`.
    format: of `part_files.FORMATS`.
    workers: captioners; if None, one for each GPU, or else for each core that has memory for it.
    batch_size: photos at a time; if None, as many as the memory of each worker allows.

    RAY_ADDRESS names a cluster, whose machines must see the same files under the same paths;
    without it, Ray runs on this machine for as long as it takes.

    Raises ValueError, in one line, where Ray Data is missing or fails, for more workers than there
    is room for, and for an output that another captioner wrote.
    """
    check_output_folder(output)
    ray = _import_ray()
    captioner = load(checkpoint)
    captioner.options(**options)  # complains before any photo is read
    parts = PartFiles(output, format, captioner.name)
    done = {photo_key(image) for image in parts.done}
    items = list(_items(paths, done))
    guest = ray.is_initialized()
    log = Path(output, LOG)
    with _kept_in(log):
        try:
            with parts:
                for told in _captioned(ray, items, done, checkpoint, options, workers, batch_size):
                    parts.add(told)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise RunError(f"Ray stopped, see {log}: {reason}") from error
        finally:
            if not guest:
                ray.shutdown()
    return Result(len(parts.done), parts.captioned, parts.failed)


def _import_ray():
    # read by Ray when it is imported: no statistics sent, no bars
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray.data
    except ImportError as error:
        problem = f"the ray engine needs Ray Data ({error}): pip install 'ray[data]'"
        raise RunError(problem) from error
    return ray


def _start(ray) -> None:
    address = os.environ.get("RAY_ADDRESS") or "local"
    ours = {"object_store_memory": STORE, "include_dashboard": False}
    settings = ours if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="WARNING", **settings)
    except Exception as error:  # Ray's own are of no class of theirs
        raise RunError(f"Ray did not start: {error}") from error


@contextmanager
def _kept_in(file: Path) -> Iterator[None]:
    """What Ray prints: nothing keeps it quiet, its C++ side least of all, and it may be needed."""
    with file.open("a", encoding="utf-8", errors="backslashreplace") as log:
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            with redirect_stdout(log):
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _items(paths: Sequence[str], done: set[str]) -> Iterator[dict]:
    """What is left to read, as rows for `read`: photos, shards, and paths that are neither."""
    seen = set(done)
    for given in paths:
        try:
            found, problem = sources(given), ""
        except ImageError as error:
            found, problem = [Path(given)], str(error)
        for path in found:
            # a name that is not text would be none in a table either
            image = os.fsencode(path).decode(errors="backslashreplace")
            if photo_key(image) not in seen:
                seen.add(photo_key(image))
                yield {"image": image, "path": os.fsencode(path), "error": problem}


def read(item: dict, done, home: str) -> Iterator[dict]:
    """The photos of one of `_items`, but for those done (by `photo_key`); what cannot be read is a
    row too."""
    name, problem = item["image"], item["error"]
    if not problem:
        path = os.path.join(home, os.fsdecode(item["path"]))  # Ray's processes start elsewhere
        if is_shard(path):
            import ray

            done = ray.get(done)  # for shards alone: `_items` has left out photos that are done
        try:
            for inside, data in photos_in(path):
                if inside and photo_key(name + inside, home) in done:
                    continue
                if isinstance(data, ImageError):
                    yield {"image": name + inside, "bytes": b"", "error": f"{name}{inside}: {data}"}
                else:
                    yield {"image": name + inside, "bytes": data or b"", "error": ""}
        except Exception as error:
            reason = getattr(error, "strerror", None) or error
            problem = f"{name}: cannot be read ({reason})"
    if problem:
        yield {"image": name, "bytes": b"", "error": problem}


class Attempts:
    """Knows which photos a worker has begun and not ended, as its process may end before that.

    Ray would give such photos to a new process again and again.
    """

    def __init__(self):
        self._together: set[str] = set()
        self._alone: Counter[str] = Counter()

    def begin(self, names: list[str]) -> bool:
        """Whether these may be captioned together; if not, one of them has ended a process."""
        fresh = self._together.isdisjoint(names)
        self._together.update(names)
        return fresh

    def begin_alone(self, name: str) -> bool:
        """Whether a photo may be captioned at all: not after it has ended two processes alone."""
        self._alone[name] += 1
        return self._alone[name] <= 2

    def end(self, names: list[str]) -> None:
        self._together.difference_update(names)
        for name in names:
            self._alone.pop(name, None)


class Worker:
    """A captioner in a process of its own, which Ray Data calls with a batch of photos."""

    def __init__(self, checkpoint: str | Path, options: dict, attempts, threads: int, home: str):
        os.chdir(home)  # where a checkpoint's relative path begins
        torch.set_num_threads(threads)
        self.captioner = load(checkpoint).to(default_device())
        self.options, self.attempts = options, attempts

    def __call__(self, table) -> dict:
        """From a table of `read`'s rows to one that holds each photo's records as JSON."""
        rows = table.to_pylist()
        names = [row["image"] for row in rows]
        if self._ask("begin", names):
            results = self._results(rows)
        else:
            results = [result for row in rows for result in self._alone(row)]
        self._ask("end", names)
        told = [
            records(name, result, self.captioner.name)
            for name, result in zip(names, results, strict=True)
        ]
        return {"records": [json.dumps(t) for t in told]}

    def _ask(self, question: str, about):
        import ray

        return ray.get(getattr(self.attempts, question).remote(about))

    def _alone(self, row: dict) -> list[list[Caption] | Exception]:
        if self._ask("begin_alone", row["image"]):
            results = self._results([row])
            self._ask("end", [row["image"]])  # it does no harm, however often the next one does
            return results
        problem = "ends the process that captions it (a crash, or no memory left); give a copy"
        return [ImageError(f"{row['image']}: {problem}")]

    def _results(self, rows: list[dict]) -> list[list[Caption] | Exception]:
        pixels: list[Tensor | Exception] = []
        for row in rows:
            try:
                pixels.append(self._pixel_values(row))
            except Exception as error:
                pixels.append(error)
        captions = iter(self._captions([p for p in pixels if isinstance(p, Tensor)]))
        return [next(captions) if isinstance(p, Tensor) else p for p in pixels]

    def _pixel_values(self, row: dict) -> Tensor:
        if row["error"]:
            raise ImageError(row["error"])
        # one photo at a time, as it can be a hundred times larger than what the encoder sees
        return self.captioner.pixel_values([load_image(_Photo(row["bytes"], row["image"]))])

    def _captions(self, pixels: list[Tensor]) -> list[list[Caption] | Exception]:
        if not pixels:
            return []
        try:
            with torch.inference_mode():
                features = self.captioner.encoder(torch.cat(pixels))
            return self.captioner.captions(features, **self.options)
        except Exception as error:  # too little memory, say: fewer at a time, at last without one
            if len(pixels) == 1:
                return [error]
            half = len(pixels) // 2
            return self._captions(pixels[:half]) + self._captions(pixels[half:])


class _Photo(io.BytesIO):
    """A photo's bytes with its name, which `load_image` tells where something is wrong."""

    def __init__(self, data: bytes, name: str):
        super().__init__(data)
        self.name = name


def _captioned(ray, items, done, checkpoint, options, workers, batch_size) -> Iterator[list[dict]]:
    """Each photo's records, in the order in which they get ready. Starts Ray if it must."""
    if not items:
        return
    if not ray.is_initialized():
        _start(ray)
    have = ray.cluster_resources()
    cores = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
    gpus = int(have.get("GPU", 0))
    memory = have.get("memory", 0)  # bytes, on all machines
    workers, threads = place(workers, cores, gpus, memory)
    batch_size = batch_size or fitting_batch(memory / workers)

    home = os.getcwd()
    attempts = ray.remote(num_cpus=0)(Attempts).remote()
    ray.data.DataContext.get_current().target_max_block_size = BLOCK
    dataset = ray.data.from_items(items, override_num_blocks=min(len(items), 1000))
    dataset = dataset.flat_map(
        read,
        fn_kwargs={"done": ray.put(done), "home": home},
        num_cpus=0,  # the workers have all, and reading takes next to nothing
        compute=ray.data.TaskPoolStrategy(size=-(-workers // 4)),
    )
    dataset = dataset.map_batches(
        Worker,
        fn_constructor_args=(checkpoint, options, attempts, threads, home),
        batch_size=batch_size,
        batch_format="pyarrow",
        num_cpus=threads,
        num_gpus=1 if gpus else 0,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from map(json.loads, batch["records"].to_pylist())


def place(workers: int | None, cores: Sequence[int], gpus: int, memory: float) -> tuple[int, int]:
    """How many workers, and threads for each, on machines with so many cores.

    Raises ValueError for more workers than GPUs or, where there are none, cores.
    """
    if workers is None:
        workers = gpus or max(1, min(sum(cores), int(memory // WORKER_MEMORY)))
    room, kind = (gpus, "GPUs") if gpus else (sum(cores), "cores")
    if not 1 <= workers <= room:
        raise OptionError(f"--workers must be from 1 to {room}, Ray's {kind}, not {workers}")
    # the most that all workers can have, each within one machine
    fits = (t for t in range(1, max(cores) + 1) if sum(c // t for c in cores) >= workers)
    return workers, max(fits, default=1)


def fitting_batch(memory: float) -> int:
    """The photos that a worker with so many bytes takes at a time: what the captioner leaves,
    divided by what a photo needs."""
    return int(max(1, min(LARGEST_BATCH, (memory - WORKER_MEMORY) // PHOTO_MEMORY)))
