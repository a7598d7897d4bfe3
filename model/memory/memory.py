"""Remembered photos: their captions, and features by which a similar photo finds them.

A photo's features are its class token and the mean of its patches, side by side; without the mean
of all remembered photos and at unit length, their product is the cosine that ranks them.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from model.errors import DataError, OptionError
from model.images import ImageSource
from model.memory.files import read_memory, write_memory
from model.network.memory_encoder import RememberedCaption
from model.network.network import EncodedPhoto, Network

NUM_NEAREST = 5  # remembered photos that a caption may borrow from
BATCH_SIZE = 16  # photos that are encoded together
FINGERPRINT_NUMBERS = 16  # of each of the encoder's tensors: training changes nearly all of them


class CaptionedPhoto(Protocol):
    """What is remembered, as `training.data` reads it."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def captions(self) -> Sequence[str]: ...


class HasNetwork(Protocol):
    """What a memory needs of a captioner."""

    network: Network
    name: str


class RememberedPhoto(NamedTuple):
    """An entry: a photo's name and what people wrote about it."""

    name: str
    captions: tuple[str, ...]


class Neighbour(NamedTuple):
    """An entry that is near a photo: its number, and the cosine of both."""

    entry: int
    similarity: float


def pool_photos(image_features: Tensor, num_prefix_tokens: int) -> Tensor:
    """Image features (B, S, width) -> (B, 2 width): the first token, which is the class token where
    there is one, and the mean of the patches."""
    patches = image_features[:, num_prefix_tokens:].float().mean(dim=1)
    return torch.cat([image_features[:, 0].float(), patches], dim=1)


def fingerprint_encoder(network: Network) -> str:
    """A digest that tells image encoders apart: features of one mean nothing to another."""
    state = network.encoder.state_dict()
    parts = [state[name].flatten()[:FINGERPRINT_NUMBERS].half() for name in sorted(state)]
    numbers = torch.cat(parts).cpu().numpy().tobytes()
    return hashlib.sha256(numbers + repr(network.encoder.image_size).encode()).hexdigest()


@dataclass(frozen=True, eq=False)  # == of tensors is no yes or no
class Memory:
    """Remembered photos of one captioner's image encoder; a value: adding gives another.

    Attributes:
        entries: the photos, without their pixels.
        features: (entries, 2 width) float16, of `pool_photos`.
        captioner, encoder: name of the captioner that saw them, and its `fingerprint_encoder`.
    """

    entries: tuple[RememberedPhoto, ...]
    features: Tensor
    captioner: str
    encoder: str
    _mean: Tensor = field(init=False, repr=False)
    _units: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        features = self.features.float()
        mean = features.mean(dim=0) if len(features) else features.new_zeros(features.shape[1])
        object.__setattr__(self, "_mean", mean)
        object.__setattr__(self, "_units", F.normalize(features - mean, dim=1))

    def __len__(self) -> int:
        return len(self.entries)

    @classmethod
    def build(cls, captioner: HasNetwork, photos: Iterable[CaptionedPhoto]) -> "Memory":
        """Remember captioned photos, such as `training.data.read_data` lists.

        Raises DataError for a photo without captions, ImageError for one that cannot be read.
        """
        network = captioner.network
        width = 2 * network.config.image_width
        empty = torch.zeros(0, width, dtype=torch.float16)
        return cls((), empty, captioner.name, fingerprint_encoder(network)).add(captioner, photos)

    def add(self, captioner: HasNetwork, photos: Iterable[CaptionedPhoto]) -> "Memory":
        """This memory with more photos; one of a name that is there takes its place.

        Raises as `build` does, and OptionError for another captioner.
        """
        self.check_captioner(captioner.network, captioner.name)
        network, listed = captioner.network, {photo.name: photo for photo in photos}
        for photo in listed.values():
            if not any(caption.strip() for caption in photo.captions):
                raise DataError(f"{photo.name}: no captions to remember; add one, or leave it out")
        kept = [i for i, entry in enumerate(self.entries) if entry.name not in listed]
        features = [self.features[kept]]
        every_path: list[ImageSource] = [photo.path for photo in listed.values()]
        for start in range(0, len(every_path), BATCH_SIZE):
            paths = every_path[start : start + BATCH_SIZE]
            pooled = pool_photos(network.encode(paths), network.encoder.num_prefix_tokens)
            features.append(pooled.to("cpu", torch.float16))
        added = (
            RememberedPhoto(p.name, tuple(c for c in p.captions if c.strip()))
            for p in listed.values()
        )
        entries = (*(self.entries[i] for i in kept), *added)
        return Memory(entries, torch.cat(features), self.captioner, self.encoder)

    def save(self, folder: str | Path) -> None:
        """Write `memory.json` and `features.safetensors`."""
        photos = [{"name": name, "captions": list(texts)} for name, texts in self.entries]
        about = {"captioner": self.captioner, "encoder": self.encoder, "photos": photos}
        write_memory(Path(folder), about, self.features)

    @classmethod
    def load(cls, folder: str | Path) -> "Memory":
        """Read what `save` wrote. Raises DataError, in one line, for anything else."""
        about, features = read_memory(Path(folder))
        entries = tuple(RememberedPhoto(p["name"], tuple(p["captions"])) for p in about["photos"])
        return cls(entries, features, about["captioner"], about["encoder"])

    def check_captioner(self, network: Network, name: str) -> None:
        """Raises OptionError for a captioner whose image encoder did not see these photos."""
        is_as_wide = self.features.shape[1] == 2 * network.config.image_width
        if fingerprint_encoder(network) != self.encoder or not is_as_wide:
            raise OptionError(
                f"the memory was made with the image encoder of {self.captioner!r}, not with that "
                f"of {name!r}; build it again with this captioner"
            )

    def nearest(
        self, features: Tensor, k: int = NUM_NEAREST, leave_out: Collection[str] = ()
    ) -> list[list[Neighbour]]:
        """The entries most like each photo, best first: at most k, all where there are fewer.

        features: (photos, 2 width), of `pool_photos`.
        leave_out: names of entries that shall not be found.

        Raises OptionError for a k below 1.
        """
        if k < 1:
            raise OptionError(f"k must be at least 1, not {k}")
        queries = F.normalize(features.to("cpu", torch.float32) - self._mean, dim=1)
        cosines = queries @ self._units.T
        entries = enumerate(self.entries if leave_out else ())
        left_out = [index for index, entry in entries if entry.name in leave_out]
        cosines[:, left_out] = float("-inf")
        best = cosines.topk(min(k, len(self) - len(left_out)), dim=1)
        return [
            [Neighbour(*pair) for pair in zip(indices, values, strict=True)]
            for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def recall(
        self, network: Network, name: str, photos: Sequence[EncodedPhoto]
    ) -> list[EncodedPhoto]:
        """The photos with the captions of those most like them, one of each.

        Raises OptionError as `check_captioner` does, and for a captioner that cannot look at them.
        """
        self.check_captioner(network, name)
        features = torch.stack([photo.image_features for photo in photos]) if photos else None
        if features is None:
            return []
        pooled = pool_photos(features, network.encoder.num_prefix_tokens)
        return [
            network.remember(photo, list(self.choose_captions(network, neighbours)))
            for photo, neighbours in zip(photos, self.nearest(pooled), strict=True)
        ]

    def choose_captions(
        self, network: Network, neighbours: Sequence[Neighbour]
    ) -> Iterator[RememberedCaption]:
        """Of each entry the caption that agrees best with those of all, as the network reads it."""
        entries = [self.entries[neighbour.entry] for neighbour in neighbours]
        for entry, text in zip(entries, choose_agreeing(entries), strict=True):
            readable = text.encode(errors="replace").decode()  # half a character is read as "?"
            tokens, words = network.tokenizer.encode(readable)
            longest = network.config.max_length
            whole = [word for word in words if word.stop <= longest]
            if whole:
                read = tuple(tokens[: whole[-1].stop])
                yield RememberedCaption(entry.name, text, read, tuple(whole))


def choose_agreeing(entries: Sequence[RememberedPhoto]) -> list[str]:
    """Of each entry the caption whose words most of the other entries' captions have, by the mean
    over its words; of equals the first in the alphabet, so that their order does not matter."""
    words = [[set(caption.lower().split()) for caption in entry.captions] for entry in entries]
    # in how many entries each word stands
    counts = Counter(word for captions in words for word in set().union(*captions))
    texts = []
    for entry, captions in zip(entries, words, strict=True):
        scores = [sum(counts[word] for word in c) / max(len(c), 1) for c in captions]
        texts.append(min(zip([-s for s in scores], entry.captions, strict=True))[1])
    return texts
