"""`python -m tools.fuzz`: coverage-guided fuzzing of our one door for images.

Atheris (libFuzzer) changes Pillow's smaller test images and keeps what reaches lines that nothing
has reached yet, in `model.images` and in Pillow's own Python. Every input must give an RGB image or
one clear line; anything else stops the run and is kept in `runs/fuzz/`.

Needs `pip install atheris`. The images are fetched as by `python -m tools.corpus`.
"""

import argparse
import shutil
import sys

import atheris

with atheris.instrument_imports(include=["PIL", "model.images"]):
    from PIL import Image

    from model.images import ImageError, load_image

    Image.init()  # all formats; else each is imported, without counters, when it is first met

from tools.corpus import FOLDER, fetch_images

SEED_BYTES = 20_000
RUNS = FOLDER.parent / "fuzz"


def load_or_refuse(data: bytes) -> None:
    try:
        image = load_image(data)
    except ImageError as error:
        assert str(error).isprintable()
        return
    assert image.mode == "RGB" and all(image.size)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    settings = parser.parse_args()
    seeds = RUNS / "corpus"
    seeds.mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(fetch_images(FOLDER)):
        if path.stat().st_size <= SEED_BYTES:
            shutil.copy(path, seeds / f"{i}{path.suffix}")
    options = [f"-runs={settings.runs}", f"-seed={settings.seed}", f"-max_len={SEED_BYTES}"]
    options += ["-timeout=30", "-rss_limit_mb=3000", f"-artifact_prefix={RUNS}/"]
    atheris.Setup([sys.argv[0], *options, str(seeds)], load_or_refuse)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
