"""What the maps of a caption cost beside the caption: `python -m benchmarks.maps [PHOTO]`.

Both are timed in turns in one run, and the ratios of their medians are printed: seconds differ from
machine to machine and from minute to minute, ratios hardly. Captioning begins with the photo. Where
a method can, its maps begin with the photo's features, which captioning has computed already. The
plain grey photo is encoded before the clock starts, once for a captioner.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from model import load
from model.attention_maps import DEFAULT_METHOD, METHODS
from model.images import find_images, load_image

ROUNDS = 15
SLOW_ROUNDS = 3  # for methods that take seconds


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(photo: str) -> None:
    captioner = load()
    image = load_image(photo)
    features = captioner.encode([image])[0]
    caption = captioner.caption(features, num_beams=1)

    def greedy() -> object:
        return captioner.caption(image, num_beams=1)

    print(f"{photo}: {caption.text}\n{torch.get_num_threads()} threads")
    print(f"{'maps of all words':24}{'seconds':>9}{'of a greedy caption':>21}")
    for method in METHODS:
        start = image if METHODS[method].needs_photo else features

        def maps(method: str = method, source=start) -> object:
            return captioner.explain(source, caption, methods=[method]).heatmaps(method)

        maps()  # warm
        rounds = SLOW_ROUNDS if method == "occlusion" else ROUNDS
        pairs = [(timed(greedy), timed(maps)) for _ in range(rounds)]
        writing, drawing = (statistics.median(times) for times in zip(*pairs, strict=True))
        name = f"{method} (default)" if method == DEFAULT_METHOD else method
        print(f"{name:24}{drawing:9.3f}{drawing / writing:20.2f}×")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(find_images("assets/examples")[0]))
