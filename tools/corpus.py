"""`python -m tools.corpus`: Pillow's own test images, and damaged copies of them, through our one
door. Every file must give an image or one clear line; what else happens is counted.

The images are in Pillow's source package, which is downloaded from the package registry (47 MB)
into `runs/corpus/`.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import PIL

from model.images import ImageError, load_image

FOLDER = Path(__file__).parent.parent / "runs" / "corpus"


def fetch_images(folder: Path) -> list[Path]:
    """The test images of the Pillow that is installed, in sorted order."""
    name = f"pillow-{PIL.__version__}"
    source, images = folder / f"{name}.tar.gz", folder / name / "Tests" / "images"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "pillow"]
        subprocess.run([*pip, "-d", str(folder), f"pillow=={PIL.__version__}"], check=True)
    if not images.exists():
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
    return sorted(path for path in images.rglob("*") if path.is_file())


def damage_copy(data: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, most of them near the beginning, where formats keep their sizes; or a
    piece cut out, or the end cut off."""
    changed = bytearray(data)
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(changed[: draw.randrange(len(changed) + 1)])
    if kind == 1:
        start = draw.randrange(len(changed) + 1)
        del changed[start : start + draw.randrange(1, 200)]
        return bytes(changed)
    for _ in range(draw.randrange(1, 12)):
        if changed:
            place = draw.randrange(min(len(changed), 400 if kind == 2 else len(changed)))
            changed[place] = draw.choice((0, 255, 127, 128, draw.randrange(256)))
    return bytes(changed)


def list_sources(paths: list[Path], copies: int, seed: int) -> Iterator[tuple[str, Path | bytes]]:
    """(name, what `load_image` is given): each file as it is, then its damaged copies."""
    draw = random.Random(seed)
    for path in paths:
        yield path.name, path
        data = path.read_bytes()
        for i in range(copies):
            yield f"{path.name}, copy {i}", damage_copy(data, draw)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.corpus", description=__doc__)
    parser.add_argument("--copies", type=int, default=10, help="damaged, of each file; 10")
    parser.add_argument("--limit", type=int, help="use only every so many-th file")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    paths = fetch_images(FOLDER)[:: settings.limit or 1]
    # the libraries below Pillow write of every broken TIFF, past Python
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts, slowest = Counter(), (0.0, "")
    for name, source in list_sources(paths, settings.copies, settings.seed):
        start = time.perf_counter()
        try:
            image = load_image(source)
            assert image.mode == "RGB" and all(image.size)
            counts["images"] += 1
        except ImageError as error:
            assert str(error).isprintable()
            counts["refused in one line"] += 1
        except Exception as error:
            counts["crashes"] += 1
            print(f"{name}: {error!r}")
        slowest = max(slowest, (time.perf_counter() - start, name))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{sum(counts.values())} files: {dict(counts)}")
    print(f"slowest {slowest[0]:.1f} s ({slowest[1]}), peak memory {peak:.0f} MB")
    return int(counts["crashes"] > 0 or slowest[0] > 60 or peak > 1024)


if __name__ == "__main__":
    sys.exit(main())
