"""A stranger's captioner is tried in a process of its own before the page touches it.

Its files can ask for any amount of memory or time, in more ways than a list of settings can hold.
So what they get is limited instead: the process fetches the captioner, captions and explains photos
with it, and reads words, within limits of memory and time. The page then loads the same files.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock

from model.errors import CheckpointError

MAX_SECONDS = 900.0  # for all of it, the download too
MAX_CPU_SECONDS = 90
MAX_MEMORY = 6 * 2**30  # bytes, but no more than half of the machine's
MAX_DOWNLOAD = 8 * 2**30  # bytes
READ = (".json", ".jinja", ".txt", ".safetensors")  # endings of files that may be fetched
ROOT = Path(__file__).parents[2]
_ONE_AT_A_TIME = Lock()


def try_checkpoint(name: str | Path) -> Path:
    """The folder of a captioner that kept within the limits; one of the hub is downloaded.

    Raises CheckpointError, in one line, for one that did not, and for what is no captioner.
    """
    with _ONE_AT_A_TIME:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui.serving.trial", str(name)],
            cwd=ROOT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that what it may start ends with it
        )
        try:
            output, _ = process.communicate(timeout=MAX_SECONDS)
        except subprocess.TimeoutExpired:
            output = b""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    lines = output.splitlines()
    if process.returncode or not lines:
        raise CheckpointError(
            f"{name}: asks for more memory or time than a captioner may have here; choose another"
        )
    result = json.loads(lines[-1])
    if "error" in result:
        raise CheckpointError(result["error"])
    return Path(result["folder"])


def _limit_resources() -> None:
    import resource

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for kind, most in (
        (resource.RLIMIT_DATA, min(MAX_MEMORY, memory // 2)),
        (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
        (resource.RLIMIT_FSIZE, MAX_DOWNLOAD),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    os.nice(10)


def _weigh_repository(name: str) -> None:
    """Raise CheckpointError for a repository with larger files than fit, and for one whose files
    have no known size. (What is here already can be read where nothing is fetched, offline.)"""
    from huggingface_hub import HfApi, constants

    from model.checkpoint.hub import PATIENCE, UnreachableError, tell_hub_errors

    if constants.HF_HUB_OFFLINE:
        return
    try:
        with tell_hub_errors(name):
            info = HfApi().model_info(name, timeout=PATIENCE, files_metadata=True)
        sizes = [file.size for file in info.siblings or () if file.rfilename.endswith(READ)]
    except UnreachableError:
        sizes = [None]
    if None in sizes:
        raise CheckpointError(
            f"{name}: the hub does not say now how large it is; try again later, or choose "
            "a model of the list"
        )
    size = sum(sizes)
    if size > MAX_DOWNLOAD:
        raise CheckpointError(
            f"{name}: {size / 2**30:.0f} GB of files, of which at most "
            f"{MAX_DOWNLOAD // 2**30} can be fetched here; choose a smaller model"
        )


def _try(name: str) -> Path:
    from PIL import Image

    from model import load
    from model.loading import fetch

    if not Path(name).is_dir():
        _weigh_repository(name)
    folder = fetch(name)
    captioner = load(folder)
    tokenizer = captioner.network.tokenizer
    # words that make a pattern with nested repetitions take for ever, whatever its letters
    for letter in map(chr, range(32, 127)):
        tokenizer.encode(64 * letter + "!")
        tokenizer.encode(32 * f"{letter} ")
    for size in ((640, 480), (50, 3000), (3000, 50)):
        photo = Image.new("RGB", size, "gray")
        encoded = captioner.encode([photo])[0]
        caption = captioner.caption(encoded)
        if caption.words:
            captioner.explain(encoded, caption)
            captioner.alternatives(encoded, caption)
    return folder


def main() -> None:
    """In the process of its own: try a captioner, and print what came of it as a line of JSON."""
    name = sys.argv[1]
    _limit_resources()
    try:
        result = {"folder": str(_try(name))}
    except CheckpointError as error:
        result = {"error": str(error)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
