"""How many captioners fit on the machines, and how many photos each takes at a time."""

from collections.abc import Sequence

from model.errors import OptionError

# Bytes that a worker needs, measured with the shipped checkpoint: 0.9 GB once it is loaded, and
# 8 MB a photo of the batch with five beams. Both doubled, for larger captioners, photos and beams.
WORKER_MEMORY, PHOTO_MEMORY = 2 * 10**9, 16 * 10**6
MAX_BATCH_SIZE = 32  # larger batches are no faster


def plan_workers(
    num_workers: int | None,
    cores: Sequence[int],
    num_gpus: int,
    memory: float,
    remembered: int = 0,
) -> tuple[int, int]:
    """The number of workers, and of threads for each.

    Args:
        num_workers: as the user gave it; None for one for each GPU, or else for each core that
            has memory for it.
        cores: of each machine.
        memory: bytes, of all machines together.
        remembered: bytes that each worker takes for remembered photos.

    Raises OptionError for more workers than GPUs or, where there are none, cores.
    """
    if num_workers is None:
        fitting_workers = int(memory // (WORKER_MEMORY + remembered))
        num_workers = num_gpus or max(1, min(sum(cores), fitting_workers))
    limit, kind = (num_gpus, "GPUs") if num_gpus else (sum(cores), "cores")
    if not 1 <= num_workers <= limit:
        raise OptionError(f"--workers must be from 1 to {limit}, Ray's {kind}, not {num_workers}")
    # the most that all workers can have, each within one machine
    fitting = (
        threads
        for threads in range(1, max(cores) + 1)
        if sum(machine_cores // threads for machine_cores in cores) >= num_workers
    )
    return num_workers, max(fitting, default=1)


def plan_batch_size(worker_memory: float, remembered: int = 0) -> int:
    """The photos that a worker with this many bytes, and so many taken for remembered photos, takes
    at a time."""
    fitting = (worker_memory - WORKER_MEMORY - remembered) // PHOTO_MEMORY
    return int(max(1, min(MAX_BATCH_SIZE, fitting)))
