"""`python -m tools.soak`: many visitors at once, some with bad files, some who leave.

The app with the shipped checkpoint in a process of its own, and 16 visitors (`gradio_client`) who
ask for captions of parts of the example photos. Every good request must give its own photo's
caption, every bad one a line. Beside it, in the same run: the same captions in one batch process.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from model import load
from model.images import load_image
from tools.serving import ROOT, served

BATCH = 8
BAD = {  # a file's name, its content, and a part of what its visitor is told
    "notes.jpg": (b"not a photo", "not an image"),
    "empty.png": (b"", "empty"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "cut.jpg": (None, "cut"),
}


def parts(folder: Path, count: int, draw: random.Random) -> list[Path]:
    """Photos: parts of the examples, each another one."""
    examples = [load_image(path) for path in sorted((ROOT / "assets" / "examples").glob("*.jpg"))]
    paths = []
    for i in range(count):
        photo = draw.choice(examples)
        width, height = (round(side * draw.uniform(0.5, 1)) for side in photo.size)
        left, top = draw.randint(0, photo.width - width), draw.randint(0, photo.height - height)
        paths.append(folder / f"{i}.jpg")
        photo.crop((left, top, left + width, top + height)).save(paths[-1])
    return paths


def in_batches(paths: list[Path]) -> tuple[list[str], float]:
    """Each photo's caption, and captions a second once the first batch is done."""
    captioner = load()
    captioner.captions(paths[:BATCH])
    begun, captions = time.perf_counter(), []
    for i in range(0, len(paths), BATCH):
        captions += [found[0].text for found in captioner.captions(paths[i : i + BATCH])]
    return captions, len(paths) / (time.perf_counter() - begun)


class Soak:
    """The visitors, and what became of their requests."""

    def __init__(self, address: str, good: dict[Path, str], bad: dict[Path, str], seed: int):
        self.address, self.good, self.bad, self.seed = address, good, bad, seed
        self.counted, self.seconds, self.wrong = Counter(), [], []
        self._lock = threading.Lock()

    def visit(self, number: int, requests: int) -> None:
        draw = random.Random(f"{self.seed} {number}")
        client = self._client()
        for _ in range(requests):
            kind = draw.choices(("good", "bad", "cancel", "reload"), (80, 10, 5, 5))[0]
            path = draw.choice(list(self.bad if kind == "bad" else self.good))
            begun = time.perf_counter()
            job = client.submit(handle_file(path), api_name="/caption")
            if kind in ("cancel", "reload"):
                time.sleep(draw.uniform(0, 0.5))
                job.cancel()
                if kind == "reload":
                    client.close()
                    client = self._client()
                self._count(kind)
                continue
            try:
                told, expected = job.result(120), self.good.get(path)
                right = told == expected
            except AppError as error:
                told, expected = str(error), self.bad.get(path)
                right = expected is not None and expected in told and "\n" not in told
            except Exception as error:
                told, expected, right = repr(error), self.good.get(path) or self.bad[path], False
            self._count(kind, time.perf_counter() - begun)
            if not right:
                self.wrong.append(f"{path.name}: {told!r}, not {expected!r}")

    def _client(self) -> Client:
        # reading certificates, which plain HTTP does not need, would cost more than a caption
        return Client(self.address, verbose=False, ssl_verify=False)

    def _count(self, kind: str, seconds: float | None = None) -> None:
        with self._lock:
            self.counted[kind] += 1
            if kind == "good":
                self.seconds.append(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--requests", type=int, default=60, help="of each visitor; 60")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    warnings.simplefilter("ignore")
    draw = random.Random(settings.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = parts(folder, 64, draw)
        BAD["cut.jpg"] = (paths[0].read_bytes()[:-2000], BAD["cut.jpg"][1])
        bad = {}
        for name, (content, told) in BAD.items():
            (folder / name).write_bytes(content)
            bad[folder / name] = told
        captions, batch_rate = in_batches(paths)
        print(f"{len(paths)} photos, {len(set(captions))} different captions")
        with served(folder) as app:
            soak = Soak(app.address, dict(zip(paths, captions, strict=True)), bad, settings.seed)
            memory, process = [], psutil.Process(app.process.pid)

            def everyone(requests: int) -> float:
                """Captions a second while all visitors are there."""
                soak.counted.clear()
                soak.seconds.clear()
                memory.clear()
                begun, rate = time.perf_counter(), None
                with ThreadPoolExecutor(settings.visitors) as pool:
                    visits = [
                        pool.submit(soak.visit, i, requests) for i in range(settings.visitors)
                    ]
                    while not all(visit.done() for visit in visits):
                        memory.append(process.memory_info().rss / 2**20)
                        if rate is None and any(visit.done() for visit in visits):
                            rate = soak.counted["good"] / (time.perf_counter() - begun)
                        time.sleep(0.5)
                for visit in visits:
                    visit.result()
                return rate

            everyone(5)  # warm-up
            begun = time.perf_counter()
            rate = everyone(settings.requests)
            took = time.perf_counter() - begun
            log = app.log.read_text()
    third = max(1, len(memory) // 3)
    early, late = np.mean(memory[:third]), np.mean(memory[-third:])
    p50, p95 = np.percentile(soak.seconds, (50, 95))
    traces = log.count("Traceback")
    print(f"{sum(soak.counted.values())} requests in {took:.0f} s: {dict(soak.counted)}")
    print(f"answered wrongly: {len(soak.wrong)}; traces in the log: {traces}")
    for line in soak.wrong[:5]:
        print(f"  {line}")
    print(f"a caption: p50 {p50:.2f} s, p95 {p95:.2f} s, with {settings.visitors} at once")
    print(f"{rate:.1f} captions/s; in one batch process {batch_rate:.1f}: {rate / batch_rate:.0%}")
    print(f"memory: {early:.0f} MB in the first third, {late:.0f} MB in the last")
    return int(bool(soak.wrong or traces))


if __name__ == "__main__":
    sys.exit(main())
