"""What a memory costs: the search by itself, and a caption that borrows from it:
`python -m benchmarks.memory`.

The photos are random features, of which no two are alike, and the memory encoder has random
weights: neither changes what there is to compute. Captions are held to one length.
"""

import importlib.util
from collections.abc import Iterator

import torch

from benchmarks.timing import Row, print_rows, time_in_turns
from model import load
from model.images import find_images, load_image
from model.memory import Memory, RememberedPhoto
from model.memory.memory import fingerprint_encoder
from training.train_memory import add_memory_encoder

EXAMPLES = "assets/examples"
NUM_REMEMBERED = 1_500  # in the memory that a caption borrows from
SIZES = (NUM_REMEMBERED, 100_000)
FAISS_SIZE = 200_000
CAPTION = "A man in a blue shirt is climbing up a rock face."
LENGTH = 12  # tokens of a caption


def measure() -> Iterator[Row]:
    threads = f"{torch.get_num_threads()} threads"
    captioner = add_memory_encoder(load(), num_layers=2)
    captioner.network.eval()
    encoder, width = (
        fingerprint_encoder(captioner.network),
        2 * captioner.network.config.image_width,
    )
    numbers = torch.Generator().manual_seed(0)

    def make_memory(count: int) -> Memory:
        features = torch.randn(count, width, generator=numbers).half()
        entries = tuple(RememberedPhoto(str(i), (CAPTION,)) for i in range(count))
        return Memory(entries, features, captioner.name, encoder)

    part = f"the nearest of random remembered photos; {threads}"
    query = torch.randn(1, width, generator=numbers)
    sizes = (*SIZES, FAISS_SIZE) if importlib.util.find_spec("faiss") else SIZES
    memories = {f"{count:,}": make_memory(count) for count in sizes}
    taken = time_in_turns({name: lambda m=m: m.nearest(query) for name, m in memories.items()}, 25)
    for name, seconds in taken.items():
        search = "FAISS" if name == f"{FAISS_SIZE:,}" else "exact"
        yield Row(part, f"{name}, {search}", 1e3 * seconds, "ms")

    part = f"a caption of {LENGTH} tokens, five beams; {threads}"
    photo = load_image(find_images(EXAMPLES)[0])
    options = {"num_beams": 5, "min_length": LENGTH, "max_length": LENGTH}
    without = "without a memory"
    works = {without: lambda: captioner.caption(photo, **options)}
    for name in list(memories)[: len(SIZES)]:
        works[f"{name} photos remembered"] = lambda memory=memories[name]: captioner.caption(
            photo, memory=memory, **options
        )
    taken = time_in_turns(works, 15)
    for name, seconds in taken.items():
        yield Row(part, name, 1e3 * seconds, "ms", seconds / taken[without], without)


if __name__ == "__main__":
    print_rows(measure())
