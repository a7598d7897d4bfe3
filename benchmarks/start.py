"""From the start of a process to the end of its first caption: `python -m benchmarks.start`.

Beside the least that it can take: importing torch in a process of its own, and a caption in one
that runs already.
"""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.timing import Row, print_rows, time_in_turns
from model import load

PHOTO = "assets/examples/cat.jpg"


def measure() -> Iterator[Row]:
    captioner = load()

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    taken = time_in_turns(
        {
            "its first caption": lambda: run("-m", "model", "caption", PHOTO),
            "import torch": lambda: run("-c", "import torch"),
            "a warm caption": lambda: captioner.caption(PHOTO),
        }
    )
    part = "from the start of a process"
    least = taken["import torch"] + taken["a warm caption"]
    yield Row(part, "import torch", taken["import torch"], "s")
    yield Row(part, "a warm caption, in a running process", taken["a warm caption"], "s")
    ratio = taken["its first caption"] / least
    yield Row(part, "to its first caption's end", taken["its first caption"], "s", ratio, "both")


if __name__ == "__main__":
    print_rows(measure())
