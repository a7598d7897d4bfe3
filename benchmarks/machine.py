"""What this machine can do at most: `python -m benchmarks.machine`."""

from collections.abc import Callable, Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Row, print_rows, time_in_turns

SIDE = 2048  # of the matrices
SMALL = 512  # where bfloat16 is compared: some processors take a minute for the larger ones
PRODUCT = 2 * SIDE**3  # operations of a matrix product
COPIED = 2**28  # bytes


def make_matrix_product(dtype: torch.dtype, side: int = SIDE) -> Callable[[], object]:
    """A large matrix product: as fast as this machine computes in this precision."""
    a = torch.randn(side, side).to(dtype)
    return lambda: a @ a


def count_operations(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products in `work`, attention's among them."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        work()
    return counter.get_total_flops()


def measure() -> Iterator[Row]:
    part = f"this machine, {torch.get_num_threads()} threads"
    source = torch.empty(COPIED, dtype=torch.uint8).zero_()
    target = torch.empty_like(source)
    works = {
        "product": make_matrix_product(torch.float32),
        "float32": make_matrix_product(torch.float32, SMALL),
        "bfloat16": make_matrix_product(torch.bfloat16, SMALL),
        "copy": lambda: target.copy_(source),
    }
    taken = time_in_turns(works)
    yield Row(part, "matrix product, float32", PRODUCT / taken["product"] / 1e9, "GFLOP/s")
    for name in ("float32", "bfloat16"):
        rate = 2 * SMALL**3 / taken[name] / 1e9
        ratio = taken["float32"] / taken[name]
        what = f"matrix product of {SMALL} a side, {name}"
        yield Row(part, what, rate, "GFLOP/s", ratio, "float32")
    yield Row(part, "memory copy", COPIED / taken["copy"] / 1e9, "GB/s")


if __name__ == "__main__":
    print_rows(measure())
