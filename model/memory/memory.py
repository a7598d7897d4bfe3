"""Remembered photos: their captions, and features by which a similar photo finds them.

A photo's features are its class token and the mean of its patches, side by side; without the mean
of all remembered photos and at unit length, their product is the cosine that ranks them.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from model.corpora import merge_splits, read_data
from model.errors import DataError, ImageError, OptionError
from model.images import ImageSource, load_image
from model.memory.files import read_memory, write_memory
from model.memory.nearest import Neighbour, Search, create_search
from model.network.memory_encoder import RememberedCaption
from model.network.network import EncodedPhoto, Network
from model.network.tokenizer import MAX_CHARACTERS

NUM_NEAREST = 5  # remembered photos that a caption may borrow from
BATCH_SIZE = 16  # photos that are encoded together
FINGERPRINT_NUMBERS = 16  # of each of the encoder's tensors: training changes nearly all of them


class CaptionedPhoto(Protocol):
    """What is remembered, as `model.corpora` reads it."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> ImageSource: ...  # where the photo is, or the photo; asked for once

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
    way = f"{network.encoder.image_size} {network.config.merged_patches}"
    return hashlib.sha256(numbers + way.encode()).hexdigest()


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

    def __len__(self) -> int:
        return len(self.entries)

    @classmethod
    def build(
        cls,
        captioner: HasNetwork,
        photos: str | Path | Iterable[CaptionedPhoto],
        *,
        on_error: Callable[[ImageError], object] | None = None,
        on_step: Callable[[], object] = lambda: None,
    ) -> "Memory":
        """Remember captioned photos.

        photos: a folder in any format of `model.corpora`, of which all photos are remembered
            whatever their split; or photos that are listed already, as `read_split` does.
        on_error: called with the error of each photo that cannot be read, which is then left out.
        on_step: called after every few photos; what it raises ends the work.

        Raises DataError for a folder without captioned photos, for a photo without captions and for
        two photos of one name, and ImageError for a photo that cannot be read where there is no
        `on_error`.
        """
        if isinstance(photos, str | Path):
            photos = merge_splits(read_data(photos))
        listed = _check_photos(photos)
        network = captioner.network
        entries: list[RememberedPhoto] = []
        features = [torch.zeros(0, 2 * network.config.image_width, dtype=torch.float16)]
        readable = _read_photos(listed, on_error)
        while batch := list(islice(readable, BATCH_SIZE)):
            encoded = network.encode([image for _, image in batch])
            pooled = pool_photos(encoded, network.encoder.num_prefix_tokens)
            features.append(pooled.to("cpu", torch.float16))
            entries += [
                RememberedPhoto(photo.name, tuple(c for c in photo.captions if c.strip()))
                for photo, _ in batch
            ]
            on_step()
        encoder = fingerprint_encoder(network)
        return cls(tuple(entries), torch.cat(features), captioner.name, encoder)

    def add(
        self,
        captioner: HasNetwork,
        photos: str | Path | Iterable[CaptionedPhoto],
        *,
        on_error: Callable[[ImageError], object] | None = None,
        on_step: Callable[[], object] = lambda: None,
    ) -> "Memory":
        """This memory with more photos; one of a name that is there takes its place.

        Only the new photos are encoded. Takes and raises what `build` does, and raises OptionError
        for another captioner.
        """
        self._check_encoder(captioner.network, captioner.name)
        return self.join(Memory.build(captioner, photos, on_error=on_error, on_step=on_step))

    def join(self, *others: "Memory") -> "Memory":
        """This memory and others of the same image encoder as one; of photos of one name, that of
        the last memory stays.

        Raises OptionError for a memory of another image encoder.
        """
        memories = (self, *others)
        for other in others:
            if other.encoder != self.encoder:
                raise OptionError(
                    f"the memories were made with the image encoders of {self.captioner!r} and of "
                    f"{other.captioner!r}; build one of them again"
                )
        entries = [entry for memory in memories for entry in memory.entries]
        kept = sorted({entry.name: index for index, entry in enumerate(entries)}.values())
        return Memory(
            tuple(entries[index] for index in kept),
            torch.cat([memory.features for memory in memories])[kept],
            self.captioner,
            self.encoder,
        )

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
        """Raises OptionError for a captioner, of this name, whose image encoder did not see these
        photos, or that has not learned to look at a memory."""
        self._check_encoder(network, name)
        network.get_memory_encoder()

    def _check_encoder(self, network: Network, name: str) -> None:
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
        left_out = [i for name in set(leave_out) for i in self._entries_by_name.get(name, ())]
        queries = features.to("cpu", torch.float32)
        return [self._search.find(query, k, left_out) for query in queries]

    @cached_property
    def _entries_by_name(self) -> dict[str, list[int]]:
        entries = defaultdict(list)
        for index, entry in enumerate(self.entries):
            entries[entry.name].append(index)
        return dict(entries)

    def find_same_captions(self, captions: Iterable[str]) -> set[str]:
        """Names of the entries that have one of these captions, whatever its capitals and marks:
        where these are the answer, such an entry may be the same photo under another name."""
        return {
            name for text in captions for name in self._names_by_words.get(_join_words(text), ())
        }

    @cached_property
    def _names_by_words(self) -> dict[str, list[str]]:
        names = defaultdict(list)
        for entry in self.entries:
            for words in set(map(_join_words, entry.captions)) - {""}:
                names[words].append(entry.name)
        return dict(names)

    @cached_property
    def _search(self) -> Search:
        return create_search(self.features)

    def recall(
        self,
        network: Network,
        photos: Sequence[EncodedPhoto],
        leave_out: Collection[str] = (),
    ) -> list[EncodedPhoto]:
        """The photos with the captions of those most like them, one of each.

        network: of a captioner that `check_captioner` lets pass. leave_out: see `nearest`.
        """
        if not photos:
            return []
        features = torch.stack([photo.image_features for photo in photos])
        pooled = pool_photos(features, network.encoder.num_prefix_tokens)
        return [
            network.remember(photo, list(self.choose_captions(network, neighbours)))
            for photo, neighbours in zip(
                photos, self.nearest(pooled, leave_out=leave_out), strict=True
            )
        ]

    def choose_captions(
        self, network: Network, neighbours: Sequence[Neighbour]
    ) -> Iterator[RememberedCaption]:
        """Of each entry the caption that agrees best with those of all, as the network reads it."""
        entries = [self.entries[neighbour.entry] for neighbour in neighbours]
        for entry, text in zip(entries, choose_agreeing(entries), strict=True):
            if caption := read_caption(network, entry.name, text):
                yield caption


def _check_photos(photos: Iterable[CaptionedPhoto]) -> list[CaptionedPhoto]:
    """The photos, all listed. Raises DataError for one that could not be remembered, or would take
    another's place."""
    by_name: dict[str, CaptionedPhoto] = {}
    for photo in photos:
        if not any(caption.strip() for caption in photo.captions):
            raise DataError(f"{photo.name}: no captions to remember; add one, or leave it out")
        if photo.name in by_name:
            raise DataError(f"{photo.name}: two photos of this name; rename one of them")
        by_name[photo.name] = photo
    return list(by_name.values())


def _read_photos(
    photos: Iterable[CaptionedPhoto], on_error: Callable[[ImageError], object] | None
) -> Iterator[tuple[CaptionedPhoto, Image.Image]]:
    """Each photo with its pixels; those that cannot be read go to `on_error`, if there is one."""
    for photo in photos:
        try:
            yield photo, load_image(photo.path)
        except ImageError as error:
            if on_error is None:
                raise
            on_error(error)


def read_caption(network: Network, photo: str, text: str) -> RememberedCaption | None:
    """A photo's caption as the network reads it, as far as it fits; None where it has no word."""
    # half a character is read as "?"
    readable = text[:MAX_CHARACTERS].encode(errors="replace").decode()
    tokens, words = network.tokenizer.encode(readable)
    whole = tuple(word for word in words if word.stop <= network.config.max_length)
    if not whole:
        return None
    return RememberedCaption(photo, text, tuple(tokens[: whole[-1].stop]), whole)


def _join_words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


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
