"""Whether bfloat16 pays on this machine."""

import time
from functools import cache

import torch

TRIALS = 5
SIDE = 256  # of the matrices that are multiplied: a trial takes a few milliseconds


@cache
def is_bfloat16_fast() -> bool:
    """Whether a product in bfloat16 is no slower than one in float32, where training runs.

    On processors without bfloat16 in hardware it is ten to a hundred times slower. They are tried:
    what a processor says of itself differs between makers, and between versions of torch.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _time_product(torch.bfloat16) <= _time_product(torch.float32)


def _time_product(dtype: torch.dtype) -> float:
    """The shortest of several times, in seconds."""
    matrix = torch.ones(SIDE, SIDE, dtype=dtype)
    matrix @ matrix  # the first one chooses a kernel
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - start)
    return min(times)
