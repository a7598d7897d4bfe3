"""From captioned images to batches: examples, their collation, and a frozen encoder's cache."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from model.captioner import Captioner
from model.images import load_image
from model.network.tokenizer import CaptionTokenizer, as_sentence
from training.data import CaptionedImage
from training.data.augmentation import Augmentation

IGNORED = -100  # label that the loss leaves out


class CaptionDataset(Dataset):
    """One example an image: its pixels or cached features, and its captions as tokens.

    Args:
        captioner: whose tokenizer and preprocessing are used.
        augmentation: which views of the photos are shown; as they are if None.
        features: (versions, images, S, image_width), from `cache_features`; pixels if None.
        maps: (images, rows, cols, C), a teacher's, from `distillation.teacher_maps`.
    """

    def __init__(
        self,
        items: list[CaptionedImage],
        captioner: Captioner,
        augmentation: Augmentation | None = None,
        features: np.ndarray | None = None,
        maps: np.ndarray | None = None,
    ):
        self.items, self.captioner = items, captioner
        self.augmentation = augmentation or Augmentation()
        self.features, self.maps = features, maps
        self.epoch = 0  # which pass this is; `training.loop.trainer` says it before each

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        item = self.items[index]
        view = self.augmentation.view(index, self.epoch)
        tokenizer, longest = self.captioner.tokenizer, self.captioner.config.max_length
        example = {
            "image": 2 * index + view.mirror,
            "captions": [
                encode_caption(view.caption(c), tokenizer, longest) for c in item.captions
            ],
        }
        if self.maps is not None:
            example["teacher_map"] = view.feature_map(torch.from_numpy(self.maps[index]))
        if self.features is not None:
            seen = self.features[int(view.mirror), index]
            example["image_features"] = torch.from_numpy(seen).float()
        else:
            photo = view.photo(load_image(item.path))
            example["pixel_values"] = self.captioner.pixel_values([photo])[0].cpu()
        return example


def encode_caption(caption: str, tokenizer: CaptionTokenizer, max_length: int) -> list[int]:
    """Start token, sentence, end token; a caption too long for the decoder loses its end."""
    tokens = [tokenizer.start, *tokenizer.encode(as_sentence(caption))[0], tokenizer.end]
    return tokens[: max_length + 1]


def collate(examples: list[dict]) -> dict[str, Tensor]:
    """A batch: images as they are, `tokens` and `labels` (images, captions, T).

    `image` is 2 · (place in the dataset) + (1 where it was mirrored).
    """
    tokens, labels = collate_captions([example["captions"] for example in examples])
    batch = {"tokens": tokens, "labels": labels}
    for name in examples[0].keys() - {"captions"}:
        batch[name] = torch.stack([torch.as_tensor(e[name]) for e in examples])
    return batch


def collate_captions(captions: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """Tokens and labels (images, captions, T) of each image's captions, start and end included.

    The label of a token is the one after it. What is not there (the rest of a short caption, or
    of an image with fewer captions) is left out of the loss by its position, never by its id.
    """
    most = max(len(said) for said in captions)
    longest = max(len(caption) for said in captions for caption in said) - 1
    tokens = torch.zeros(len(captions), most, longest, dtype=torch.long)
    labels = torch.full_like(tokens, IGNORED)
    for i, said in enumerate(captions):
        for k, caption in enumerate(said):
            tokens[i, k, : len(caption) - 1] = torch.tensor(caption[:-1])
            labels[i, k, : len(caption) - 1] = torch.tensor(caption[1:])
    return tokens, labels


def fingerprint_of(items: list[CaptionedImage], *more: object) -> str:
    """A name for what was computed from these photos (and `more`)."""
    digest = hashlib.sha256(repr(more).encode())
    for item in items:
        about = item.path.stat()
        digest.update(f"{item.path} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def unfinished_file(folder: Path) -> Path:
    """A new file to write into before it is renamed; two processes never have the same."""
    handle, name = tempfile.mkstemp(".unfinished", dir=folder)
    os.close(handle)
    return Path(name)


def create_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array file in half precision. Raises OSError if the disk has no room for all of it:
    writing into a file that turns out not to fit would end the process."""
    array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    if hasattr(os, "posix_fallocate"):  # not on Windows and macOS
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def cache_features(
    captioner: Captioner,
    items: list[CaptionedImage],
    folder: Path,
    mirror: bool = False,
    bf16: bool = True,
    batch_size: int = 32,
) -> np.ndarray:
    """The features of a frozen encoder as a memory-mapped (versions, images, S, width) array.

    Half precision, computed once: the file is named after the encoder's weights and the images
    and found again by the next run. With `mirror` there are two versions of each image.
    """
    captioner.eval()  # features without patch dropout
    weights = hashlib.sha256()
    for name, weight in captioner.encoder.state_dict().items():
        weights.update(name.encode())
        weights.update(weight.float().cpu().numpy().tobytes())
    prepared = captioner.image_processor.to_json_string()
    made_with = [mirror, bf16, captioner.config.image_size, prepared, weights.hexdigest()]
    path = folder / f"features-{fingerprint_of(items, made_with)}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (1 + mirror, len(items), captioner.encoder.num_tokens, captioner.config.image_width)
        unfinished = unfinished_file(folder)
        features = create_array(unfinished, shape)
        for version in range(1 + mirror):
            for start in tqdm(range(0, len(items), batch_size), "encoding photos"):
                photos = [load_image(item.path) for item in items[start : start + batch_size]]
                if version:
                    photos = [ImageOps.mirror(photo) for photo in photos]
                with torch.autocast(captioner.device.type, torch.bfloat16, bf16):
                    encoded = captioner.encode(photos)
                features[version, start : start + len(photos)] = encoded.float().cpu().numpy()
        features.flush()
        unfinished.rename(path)
    return np.load(path, mmap_mode="c")  # writable for torch's sake; the file stays as it is
