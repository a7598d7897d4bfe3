"""From captioned photos to batches: examples, their collation, and cached image features."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from model.corpora.corpus import CaptionedImage
from model.images import load_image
from model.network.network import Network
from model.network.tokenizer import CaptionTokenizer, as_sentence
from training.data.array_cache import (
    create_array,
    create_unfinished_file,
    fingerprint_photos,
    load_array,
)
from training.data.augmentation import Augmentation, mirror_caption
from training.data.schedule import PhotoSchedule

IGNORED = -100  # label that the loss leaves out
ENCODING_BATCH = 32  # photos


def get_view_index(photo_index: int, mirror: bool) -> int:
    """Where a photo's view stands in lists with two entries a photo, as it is and mirrored."""
    return 2 * photo_index + mirror


def list_view_captions(items: list[CaptionedImage]) -> list[list[str]]:
    """The captions of each photo as it is and mirrored, at the places of `get_view_index`."""
    captions = []
    for item in items:
        captions += [item.captions, [mirror_caption(caption) for caption in item.captions]]
    return captions


class CaptionDataset(Dataset):
    """One example per photo: pixels or cached features, and all its captions as tokens.

    Args:
        network: its tokenizer, image processor and `config.max_length` are used.
        augmentation: which views of the photos are shown; as they are if None.
        features: (views, photos, S, image_width), from `cache_features`; pixels if None.
        teacher_maps: (photos, rows, cols, C), from `distillation.cache_teacher_maps`.
        schedule: which photo comes when; each once an epoch if None.
    """

    def __init__(
        self,
        items: list[CaptionedImage],
        network: Network,
        augmentation: Augmentation | None = None,
        features: np.ndarray | None = None,
        teacher_maps: np.ndarray | None = None,
        schedule: PhotoSchedule | None = None,
    ):
        self.items, self.network = items, network
        self.schedule = schedule or PhotoSchedule([len(items)])
        self.augmentation = augmentation or Augmentation()
        self.features, self.teacher_maps = features, teacher_maps
        self.epoch = 0  # set by `training.loop.trainer.EpochCallback`

    def __len__(self) -> int:
        return len(self.schedule)

    def __getitem__(self, place: int) -> dict:
        index, num_passes = self.schedule.find_photo(place, self.epoch)
        item = self.items[index]
        view = self.augmentation.choose_view(index, num_passes)
        tokenizer, max_length = self.network.tokenizer, self.network.config.max_length
        captions = [view.transform_caption(caption) for caption in item.captions]
        example = {
            "view_index": get_view_index(index, view.mirror),
            "captions": [encode_caption(caption, tokenizer, max_length) for caption in captions],
        }
        if self.teacher_maps is not None:
            teacher_map = torch.from_numpy(self.teacher_maps[index])
            example["teacher_map"] = view.transform_map(teacher_map)
        if self.features is not None:
            features = self.features[int(view.mirror), index]
            example["image_features"] = torch.from_numpy(features).float()
        else:
            photo = view.transform_photo(load_image(item.path))
            example["pixel_values"] = self.network.pixel_values([photo])[0].cpu()
        return example


def encode_caption(caption: str, tokenizer: CaptionTokenizer, max_length: int) -> list[int]:
    """Start token, sentence, end token; a caption too long for the decoder loses its end."""
    tokens = [tokenizer.start, *tokenizer.encode(as_sentence(caption))[0], tokenizer.end]
    return tokens[: max_length + 1]


def collate(examples: list[dict]) -> dict[str, Tensor]:
    """A batch of examples as `CaptionDataset` makes them.

    Returns:
        `tokens` and `labels` (photos, captions, T); `view_index` (photos,), see `get_view_index`;
        `pixel_values` or `image_features`, and `teacher_map`, stacked.
    """
    tokens, labels = collate_captions([example["captions"] for example in examples])
    batch = {"tokens": tokens, "labels": labels}
    for name in examples[0].keys() - {"captions"}:
        batch[name] = torch.stack([torch.as_tensor(example[name]) for example in examples])
    return batch


def collate_captions(captions: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """Tokens and labels (photos, captions, T) of each photo's captions, start and end included.

    The label of a token is the one after it. Padding (after a short caption, or for a photo with
    fewer captions) is left out of the loss by its position, never by its id.
    """
    max_captions = max(len(photo_captions) for photo_captions in captions)
    max_length = max(len(caption) for photo_captions in captions for caption in photo_captions) - 1
    tokens = torch.zeros(len(captions), max_captions, max_length, dtype=torch.long)
    labels = torch.full_like(tokens, IGNORED)
    for i, photo_captions in enumerate(captions):
        for k, caption in enumerate(photo_captions):
            tokens[i, k, : len(caption) - 1] = torch.tensor(caption[:-1])
            labels[i, k, : len(caption) - 1] = torch.tensor(caption[1:])
    return tokens, labels


def cache_features(
    network: Network,
    items: list[CaptionedImage],
    folder: Path,
    *,
    mirror: bool = False,
    bf16: bool,
) -> np.ndarray:
    """The features of a frozen encoder, memory-mapped: (views, photos, S, width) float16.

    They are computed once: the file is named after the encoder's weights and the photos, and later
    runs find it. With `mirror` there are two views of each photo, else one. With `bf16` they are
    computed in bfloat16, which some processors are a hundred times slower at.
    """
    network.eval()  # features without patch dropout
    weights = hashlib.sha256()
    for name, weight in network.encoder.state_dict().items():
        weights.update(name.encode())
        weights.update(weight.float().cpu().numpy().tobytes())
    config, processor = network.config, network.image_processor.to_json_string()
    merged = config.merged_patches
    parameters = [mirror, bf16, config.image_size, processor, merged, weights.hexdigest()]
    path = folder / f"features-{fingerprint_photos(items, parameters)}.npy"
    if path.is_file():
        return load_array(path)
    unfinished = create_unfinished_file(folder)
    shape = (1 + mirror, len(items), network.encoder.num_tokens, config.image_width)
    features = create_array(unfinished, shape)
    for view in range(1 + mirror):
        for start in tqdm(range(0, len(items), ENCODING_BATCH), "encoding photos"):
            photos = [load_image(item.path) for item in items[start : start + ENCODING_BATCH]]
            if view:
                photos = [ImageOps.mirror(photo) for photo in photos]
            with torch.autocast(network.device.type, torch.bfloat16, bf16):
                encoded = network.encode(photos)
            features[view, start : start + len(photos)] = encoded.float().cpu().numpy()
    features.flush()
    unfinished.rename(path)
    return load_array(path)
