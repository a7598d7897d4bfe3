"""`python -m tools.soak`: many visitors at once, some with bad files, some who leave.

The app in a process of its own, and 16 visitors (`gradio_client`) who ask for captions of parts of
the example photos. Every good request must give its own photo's caption, every bad one a line. Then
the same again beside visitors who mean harm (`tools.hostile`). Beside it, in the same run: the same
captions in one batch process.
"""

import argparse
import contextlib
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
from tools.hostile import HostileVisitor, upload_photo
from tools.serving import ROOT, Served, serve_app

BATCH = 8
BAD = {  # a file's name, its content, and a part of what its visitor is told
    "notes.jpg": (b"not a photo", "not an image"),
    "empty.png": (b"", "empty"),
    "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "cut.jpg": (None, "cut"),
}


def cut_photos(folder: Path, count: int, draw: random.Random) -> list[Path]:
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


def caption_in_batches(checkpoint: str, paths: list[Path]) -> tuple[list[str], float]:
    """Each photo's caption, and captions a second once the first batch is done."""
    captioner = load(checkpoint or "shipped")
    captioner.captions(paths[:BATCH])
    start, captions = time.perf_counter(), []
    for i in range(0, len(paths), BATCH):
        captions += [ranked[0].text for ranked in captioner.captions(paths[i : i + BATCH])]
    return captions, len(paths) / (time.perf_counter() - start)


class Soak:
    """The visitors, and what became of their requests."""

    def __init__(self, address: str, good: dict[Path, str], bad: dict[Path, str], seed: int):
        self.address, self.good, self.bad, self.seed = address, good, bad, seed
        self.counted, self.seconds, self.wrong = Counter(), [], []
        self._lock = threading.Lock()

    def visit(self, number: int, requests: int) -> None:
        draw = random.Random(f"{self.seed} {number}")
        client = self._client(number)
        for _ in range(requests):
            kind = draw.choices(("good", "bad", "cancel", "reload"), (80, 10, 5, 5))[0]
            path = draw.choice(list(self.bad if kind == "bad" else self.good))
            start = time.perf_counter()
            job = client.submit(handle_file(path), api_name="/caption")
            if kind in ("cancel", "reload"):
                time.sleep(draw.uniform(0, 0.5))
                job.cancel()
                if kind == "reload":
                    client.close()
                    client = self._client(number)
                self._count(kind)
                continue
            try:
                answer, expected = job.result(120), self.good.get(path)
                right = answer == expected
            except AppError as error:
                answer, expected = str(error), self.bad.get(path)
                right = expected is not None and expected in answer and "\n" not in answer
            except Exception as error:
                answer, expected, right = repr(error), self.good.get(path) or self.bad[path], False
            self._count(kind, time.perf_counter() - start)
            if not right:
                self.wrong.append(f"{path.name}: {answer!r}, not {expected!r}")

    def _client(self, number: int) -> Client:
        headers = {"X-Forwarded-For": f"198.51.100.{number}"}  # an address of each one's own
        # reading certificates, which plain HTTP does not need, would cost more than a caption
        return Client(self.address, verbose=False, ssl_verify=False, headers=headers)

    def _count(self, kind: str, seconds: float | None = None) -> None:
        with self._lock:
            self.counted[kind] += 1
            if kind == "good":
                self.seconds.append(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--requests", type=int, default=60, help="of each visitor; 60")
    parser.add_argument("--hostile", type=int, default=2, help="visitors beside them; 2")
    parser.add_argument("--checkpoint", default="", help="a folder; the shipped one")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    checkpoint = Path(settings.checkpoint).resolve() if settings.checkpoint else ""
    warnings.simplefilter("ignore")
    draw = random.Random(settings.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = cut_photos(folder, 64, draw)
        BAD["cut.jpg"] = (paths[0].read_bytes()[:-2000], BAD["cut.jpg"][1])
        bad = {}
        for name, (content, answer) in BAD.items():
            (folder / name).write_bytes(content)
            bad[folder / name] = answer
        captions, batch_rate = caption_in_batches(settings.checkpoint, paths)
        print(f"{len(paths)} photos, {len(set(captions))} different captions")
        with serve_app(folder, checkpoint) as app:
            soak = Soak(app.address, dict(zip(paths, captions, strict=True)), bad, settings.seed)
            watch = Watch(app)

            def run_visitors(requests: int) -> float:
                """Captions a second while all visitors are there."""
                soak.counted.clear()
                soak.seconds.clear()
                start, rate = time.perf_counter(), None
                with ThreadPoolExecutor(settings.visitors) as pool:
                    visits = [
                        pool.submit(soak.visit, i, requests) for i in range(settings.visitors)
                    ]
                    while not all(visit.done() for visit in visits):
                        watch.look()
                        if rate is None and any(visit.done() for visit in visits):
                            rate = soak.counted["good"] / (time.perf_counter() - start)
                        time.sleep(0.5)
                for visit in visits:
                    visit.result()
                return rate

            run_visitors(5)  # warm-up
            watch.forget()
            rate = run_visitors(settings.requests)
            report("alone", soak, watch)
            quiet_p95 = np.percentile(soak.seconds, 95)
            watch.forget()
            leaving = threading.Event()
            photo = upload_photo(app.address, paths[0].read_bytes())
            hostile = [
                HostileVisitor(app.address, photo, leaving, f"{settings.seed} hostile {i}")
                for i in range(settings.hostile)
            ]
            threads = [threading.Thread(target=visitor.visit) for visitor in hostile]
            for thread in threads:
                thread.start()
            run_visitors(settings.requests)
            report(f"beside {settings.hostile} who mean harm", soak, watch)
            leaving.set()
            for thread in threads:
                thread.join()
            log = app.log.read_text()
    harms = sum((visitor.answered for visitor in hostile), Counter())
    print(f"harms: {dict(sorted(harms.items()))}")
    slower = np.percentile(soak.seconds, 95) / quiet_p95
    print(f"p95 beside them is {slower:.2f} times the one without")
    traces = log.count("Traceback")
    print(f"answered wrongly: {len(soak.wrong)}; traces in the log: {traces}")
    for line in soak.wrong[:5]:
        print(f"  {line}")
    print(f"{rate:.1f} captions/s; in one batch process {batch_rate:.1f}: {rate / batch_rate:.0%}")
    return int(bool(soak.wrong or traces))


class Watch:
    """The page's memory, threads and files over time."""

    def __init__(self, app: Served):
        self._process = psutil.Process(app.process.pid)
        self._uploads = app.log.parent / "uploads"
        self.forget()

    def forget(self) -> None:
        self.memory, self.threads, self.files = [], [], []  # MB, number, MB

    def look(self) -> None:
        self.memory.append(self._process.memory_info().rss / 2**20)
        self.threads.append(self._process.num_threads())
        sizes = []
        for path in self._uploads.rglob("*"):
            with contextlib.suppress(OSError):  # just deleted
                sizes.append(path.stat().st_size)
        self.files.append(sum(sizes) / 2**20)


def report(name: str, soak: Soak, watch: Watch) -> None:
    """Print what became of the requests of a run."""
    third = max(1, len(watch.memory) // 3)
    early, late = np.mean(watch.memory[:third]), np.mean(watch.memory[-third:])
    p50, p95 = np.percentile(soak.seconds, (50, 95))
    print(f"{name}: {sum(soak.counted.values())} requests: {dict(soak.counted)}")
    print(f"  a caption: p50 {p50:.2f} s, p95 {p95:.2f} s")
    print(f"  memory: {early:.0f} MB in the first third, {late:.0f} MB in the last")
    print(f"  threads: {min(watch.threads)} to {max(watch.threads)}")
    print(f"  uploads: at most {max(watch.files):.0f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
