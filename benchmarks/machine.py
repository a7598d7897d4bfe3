"""What this machine can do at most: `python -m benchmarks.machine`."""

from collections.abc import Callable, Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, in_turns, show

SIDE = 1024  # of the matrices
PRODUCT = 2 * SIDE**3  # operations of a matrix product
COPIED = 2**28  # bytes


def product(dtype: torch.dtype) -> Callable[[], object]:
    """A large matrix product: as fast as this machine computes in this precision."""
    a = torch.randn(SIDE, SIDE).to(dtype)
    return lambda: a @ a


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products in `work`, attention's among them."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops()


def measure() -> Iterator[Row]:
    part = f"this machine, {torch.get_num_threads()} threads"
    source = torch.empty(COPIED, dtype=torch.uint8).zero_()
    target = torch.empty_like(source)
    works = {"float32": product(torch.float32), "bfloat16": product(torch.bfloat16)}
    # some processors take seconds for one product in bfloat16
    taken = in_turns({**works, "copy": lambda: target.copy_(source)}, 3)
    for name in works:
        rate = PRODUCT / taken[name] / 1e9
        ratio = taken["float32"] / taken[name]
        yield Row(part, f"matrix product, {name}", rate, "GFLOP/s", ratio, "float32")
    yield Row(part, "memory copy", COPIED / taken["copy"] / 1e9, "GB/s")


if __name__ == "__main__":
    show(measure())
