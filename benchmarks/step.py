"""What a token costs beside reading the decoder's weights once: `python -m benchmarks.step`.

A token of a caption needs every weight of the decoder, except those that only bring the photo's
features to keys and values; reading them from memory is the least that it can take.
"""

from collections.abc import Iterator

import torch

from benchmarks.timing import Row, print_rows, time_in_turns
from model import load
from model.images import find_images
from model.network.decoder import TextDecoder

LENGTH = 20  # tokens


def measure() -> Iterator[Row]:
    captioner = load()
    encoded = captioner.encode(find_images("assets/examples")[:1])
    weights = join_step_weights(captioner.network.decoder)
    part = f"a token of a caption of {LENGTH}; {torch.get_num_threads()} threads"

    def write(num_beams: int) -> object:
        return captioner.captions(
            encoded, num_beams=num_beams, min_length=LENGTH, max_length=LENGTH
        )

    taken = time_in_turns(
        {"floor": lambda: weights.sum(), "greedy": lambda: write(1), "beams": lambda: write(5)}
    )
    megabytes = weights.numel() * weights.element_size() / 1e6
    what = f"reading the decoder's weights once, {megabytes:.0f} MB"
    yield Row(part, what, 1e3 * taken["floor"], "ms")
    greedy, beams = taken["greedy"] / LENGTH, taken["beams"] / LENGTH
    yield Row(part, "greedy", 1e3 * greedy, "ms", greedy / taken["floor"], "reading")
    yield Row(part, "five beams", 1e3 * beams, "ms", beams / greedy, "greedy")


def join_step_weights(decoder: TextDecoder) -> torch.Tensor:
    """All weights that a token needs, in one piece."""
    once_a_photo = ("cross_attn.key.", "cross_attn.value.", "image_projection.")
    looked_up = ("position_embedding.",)
    return torch.cat(
        [
            parameter.detach().flatten()
            for name, parameter in decoder.named_parameters()
            if not any(part in name for part in (*once_a_photo, *looked_up))
        ]
    )


if __name__ == "__main__":
    print_rows(measure())
