"""What this machine can do at most: `python -m benchmarks.machine`."""

from collections.abc import Iterator

import torch

from benchmarks.timing import Row, in_turns, show

SIDE = 2048  # of the matrices
COPIED = 2**28  # bytes


def measure() -> Iterator[Row]:
    part = f"this machine, {torch.get_num_threads()} threads"
    a = torch.randn(SIDE, SIDE)
    b = a.bfloat16()
    source = torch.empty(COPIED, dtype=torch.uint8).zero_()
    target = torch.empty_like(source)
    works = {"float32": lambda: a @ a, "bfloat16": lambda: b @ b}
    taken = in_turns({**works, "copy": lambda: target.copy_(source)})
    for name in works:
        rate = 2 * SIDE**3 / taken[name] / 1e9
        ratio = taken["float32"] / taken[name]
        yield Row(part, f"matrix product, {name}", rate, "GFLOP/s", ratio, "float32")
    yield Row(part, "memory copy", COPIED / taken["copy"] / 1e9, "GB/s")


if __name__ == "__main__":
    show(measure())
