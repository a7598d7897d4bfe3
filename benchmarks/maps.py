"""What the maps of a caption cost beside the caption: `python -m benchmarks.maps [PHOTO]`.

Captioning begins with the photo; the maps begin with the encoded photo, which captioning has made
already. The plain grey photo is encoded before the clock starts, once
for a captioner.
"""

import sys
from collections.abc import Iterator

import torch

from benchmarks.timing import Row, print_rows, time_in_turns
from model import load
from model.explain.methods import DEFAULT_METHOD, METHODS
from model.images import find_images, load_image


def measure(photo: str | None = None) -> Iterator[Row]:
    captioner = load()
    image = load_image(photo or find_images("assets/examples")[0])
    encoded = captioner.encode([image])[0]
    caption = captioner.caption(encoded, num_beams=1)
    part = f"maps of all words; {torch.get_num_threads()} threads"

    def greedy() -> object:
        return captioner.caption(image, num_beams=1)

    for method in METHODS:

        def maps(method: str = method) -> object:
            return captioner.explain(encoded, caption, methods=[method]).heatmaps(method)

        rounds = 3 if method == "occlusion" else 9
        taken = time_in_turns({"caption": greedy, "maps": maps}, rounds)
        name = f"{method} (default)" if method == DEFAULT_METHOD else method
        ratio = taken["maps"] / taken["caption"]
        yield Row(part, name, 1e3 * taken["maps"], "ms", ratio, "a greedy caption")


if __name__ == "__main__":
    print_rows(measure(*sys.argv[1:2]))
